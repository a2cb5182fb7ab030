"""Another generator, asked with words around every prompt: a cue, or a critique that praises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ilf.errors import UsageError
from ilf.generators._nested import fits, samples_of
from ilf.protocols import Generator, Prompt
from rankers import RankerError, fill


@dataclass(frozen=True)
class Framed:
    """Asks another generator with ``template`` filled in: ``{prompt}``, and ``{critique}`` with a fixed text.

    How a model that learnt from critiques is asked when there is none yet: one that was trained with
    ``feedback_conditional`` under the same template and a critique that praises, one with
    ``chain_of_hindsight`` behind the cue of the better answer. A prompt of several messages stays what it is
    where the template is just ``{prompt}``; any other template makes one text of it, as training does.
    """

    generator: Generator
    template: str = "{prompt}"
    critique: str = ""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses templates without the prompt, and those that cannot be filled."""
        if "{prompt}" not in self.template:
            raise UsageError(f"framed.template: {{prompt}} must stand in it; it is {self.template!r}.")
        if bool(self.critique) != ("{critique}" in self.template):
            raise UsageError(
                "framed: {critique} in the template and the setting critique belong together; they are "
                f"{self.template!r} and {self.critique!r}."
            )
        try:
            self.framed("")
        except RankerError as error:
            raise UsageError(f"framed.template: {error}.") from None

    @property
    def samples_per_answer(self) -> float:
        """Texts sampled for each one asked for: those of the other generator."""
        return samples_of(self.generator)

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the framed prompt leaves the other generator room for an answer."""
        return fits(self.generator, self.framed(prompt))

    def framed(self, prompt: Prompt) -> Prompt:
        """What the other generator is asked for a prompt."""
        if self.template == "{prompt}":
            return prompt
        return fill(self.template, {"prompt": prompt, "critique": self.critique or None})

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """The other generator's ``n`` completions of every framed prompt."""
        if n < 1:
            raise UsageError(f"framed: {n} completions asked for, must be 1 or more.")
        if len(prompts) != len(seeds):
            raise UsageError(
                f"framed: {len(prompts)} prompts and {len(seeds)} seeds; every prompt has its own."
            )
        return self.generator.generate([self.framed(prompt) for prompt in prompts], n, seeds)
