"""Whether the models that grade an arm are held out from it: it must not have followed their marks before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ilf._findings.slate import StepOf
from ilf.config import Spec
from ilf.plan import ancestors

if TYPE_CHECKING:
    from ilf._compare.cells import Cell
    from ilf._compare.terms import Comparison

#: Kind of the warning.
NOT_HELD_OUT = "not_held_out"


def not_held_out(
    comparison: Comparison, by_arm: Mapping[str, Sequence[Cell]], step: StepOf
) -> list[dict[str, Any]]:
    """``{"kind", "arm", "model", "axes"}`` of every arm that learnt from, or picks by, one that grades it.

    Read from the plan: the reward of a strategy and the model of a ranker, anywhere behind the answers,
    against the models of the graders. The same weights under another step's name are the same model.
    ``axes`` names what it grades; None among them is the grade itself.
    """
    targets: list[tuple[str | None, str]] = [(None, comparison.target)]
    targets += [(axis.name, f"{comparison.target}_{axis.name}") for axis in comparison.axes]
    found = []
    for arm, cells in by_arm.items():
        graded: dict[str, list[str | None]] = {}
        for axis, target in targets:
            for model in dict.fromkeys(one for cell in cells for one in _both(cell, target, step)):
                graded.setdefault(model, []).append(axis)
        found += [
            {"kind": NOT_HELD_OUT, "arm": arm, "model": model, "axes": axes} for model, axes in graded.items()
        ]
    return found


def _both(cell: Cell, target: str, step: StepOf) -> list[str]:
    """The models, as the grader names them, that grade a target and were followed by what it grades."""
    by_name = {planned.name: planned for planned in cell.plan}
    if target not in by_name:
        return []
    grader = by_name[target].spec.settings.get("grader")
    graders = list(grader.models()) if isinstance(grader, Spec) else []
    behind = ancestors(cell.plan, *by_name[target].reads) if graders else []
    followed = {_identity(model, cell, step) for planned in behind for model in followed_by(planned.spec)}
    return [model for model in graders if _identity(model, cell, step) in followed]


def followed_by(spec: Spec) -> Iterator[str]:
    """Models whose marks a step follows: the reward of its strategy, and whatever its rankers score with.

    Not those of a ``grader``, which only looks on, nor the models that write.
    """
    for key, value in spec.settings.items():
        if key == "reward" and isinstance(value, str) and value:
            yield value
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Spec) and key != "grader":
                yield from item.models() if key in ("ranker", "rankers") else followed_by(item)


def _identity(model: str, cell: Cell, step: StepOf) -> str:
    """The hash of a trained model's weights where it is a step's; else what the recipe calls it."""
    name = model.removeprefix("steps.")
    if name == model or name not in cell.keys:
        return model
    return str(step(cell, name).made_by.get("model") or model)
