"""The terms of a comparison: arms, axes, and the roles of its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Role -> what the control takes away, so that what is left can be read off.
ROLES = {
    "base": "the model as it is: nobody was asked, nothing was trained",
    "own_outputs": "tuned on its own first answers: what training alone does",
    "no_feedback": "the same loop, told nothing: what rewriting and picking do without people",
    "shuffled": "the same loop, told another row's critique: what critiques do that are about nothing here",
    "chance": "a coin picks the rewrite: what the ranker adds",
    "longest": "the longest rewrite is picked: what length alone buys",
    "oracle": "ground truth picks the rewrite: the most that any ranker could do",
    "critiques_in_context": "no training: the nearest past critiques stand in the prompt, at the same price",
    "prompt_from_critiques": "no training: one instruction distilled from the critiques, at the same price",
}
#: Difference of two arms below which they may be called the same, where the interval shows it.
MARGIN = 0.05
#: Test prompts, and answers to each, of an axis that says nothing else: the quickstart has to stay short.
AXIS_PROMPTS, AXIS_SAMPLES = 100, 1
#: Which way a measure is better.
BETTER = ("higher", "lower", "nearer to 0")


@dataclass(frozen=True)
class Arm:
    """A set of overrides under a name, and the arm that it is compared with.

    ``buys`` says which steps' answers a budget pays for, with the share of each; None: those of the one step
    behind the arm that asks people. ``budget`` is in seconds of people's time, and part of the name.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    control: str | None = None
    is_control: bool = False
    buys: Mapping[str, float] | None = None
    budget: float | None = None
    of: str = ""
    """The arm's name without the budget."""


@dataclass(frozen=True)
class Axis:
    """Further test prompts for every arm: the target's own steps on other rows of ``load``.

    ``grader`` and ``text`` take the place of the target's; ``part`` is what counts (else the grade),
    and ``better`` says which way: ``higher``, ``lower`` or ``nearer to 0``.
    """

    name: str
    load: Mapping[str, Any]
    about: str = ""
    n: int = AXIS_PROMPTS
    samples: int = AXIS_SAMPLES
    grader: Any = None
    text: str = ""
    axis: str = "generalisation"
    part: str = "grade"
    better: str = "higher"


@dataclass(frozen=True)
class Versus:
    """Every arm of ``rows`` against every one of ``columns``: a family of planned comparisons of its own."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    about: str = ""


@dataclass(frozen=True)
class Comparison:
    """The ``compare:`` section of a recipe, checked: arms, seeds, the step whose grade counts, tables."""

    target: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    workers: int = 2
    note: str = ""
    budgets: tuple[float, ...] = ()
    controls: Mapping[str, str | None] = field(default_factory=dict)
    """Role of a control -> the arm that plays it, None where it is switched off."""
    axes: tuple[Axis, ...] = ()
    margin: float = MARGIN
    wage_per_hour: float = 0.0
    versus: Versus | None = None
    worth: Mapping[str, str] = field(default_factory=dict)
    grid: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    picks: tuple[str, ...] = ()
    picks_step: str = "choose"
    graded_step: str = ""

    def at(self, name: str, budget: float | None) -> str:
        """The arm of that name at a budget; it stands once where nobody was asked behind it."""
        own = [arm.name for arm in self.arms if arm.of == name and arm.budget in (budget, None)]
        return own[0] if own else name
