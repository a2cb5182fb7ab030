"""Critiques used without training: one instruction that was distilled from them stands with every prompt."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ilf._forms import form_template
from ilf.errors import UsageError
from ilf.generators._memory import read_instruction
from ilf.generators._nested import check_asked, check_template, fits, samples_of
from ilf.protocols import Generator, Prompt
from rankers import RankerError, fill
from rankers._lm import settings_only


@dataclass(frozen=True)
class PromptFromCritiques:
    """Asks another generator with the instruction that the strategy ``distil_prompt`` made of critiques.

    A control for whatever learns from critiques: the same people's seconds and no training. ``memory`` is the
    folder that ``distil_prompt`` wrote (``steps.NAME``). ``form`` words what is asked; ``template``, with
    ``{instruction}`` and ``{prompt}``, takes its place. A prompt of several messages becomes one text.
    """

    generator: Generator
    memory: str
    form: str = "instruct"
    template: str | None = None

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses templates without instruction or prompt, and those that cannot be filled."""
        check_template("prompt_from_critiques.template", self._template, "instruction", "prompt")
        try:
            fill(self._template, {"instruction": "", "prompt": ""})
        except RankerError as error:
            raise UsageError(f"prompt_from_critiques.template: {error}.") from None

    @property
    def samples_per_answer(self) -> float:
        """Texts sampled for each one asked for: those of the other generator."""
        return samples_of(self.generator)

    @functools.cached_property
    def instruction(self) -> str:
        """The instruction, read once. Raises ComponentError without it."""
        return read_instruction(self.memory, "prompt_from_critiques")

    def __getstate__(self) -> dict[str, Any]:
        """Settings travel between processes, what was read does not."""
        return settings_only(self)

    def asked(self, prompt: Prompt) -> str:
        """What the other generator is asked for a prompt."""
        return fill(self._template, {"instruction": self.instruction, "prompt": prompt})

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the prompt with the instruction leaves the other generator room for an answer."""
        return fits(self.generator, self.asked(prompt))

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """The other generator's ``n`` completions of every prompt with the instruction."""
        check_asked("prompt_from_critiques", prompts, n, seeds)
        return self.generator.generate([self.asked(prompt) for prompt in prompts], n, seeds)

    @property
    def _template(self) -> str:
        if self.template is not None:
            return self.template
        return form_template(self.form, "instructed", "prompt_from_critiques")
