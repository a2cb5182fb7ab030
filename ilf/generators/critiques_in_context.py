"""Critiques used without training: the nearest past ones stand in front of every prompt."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ilf._forms import form_template
from ilf.errors import UsageError
from ilf.generators._memory import Near, read_critiques
from ilf.generators._nested import check_asked, check_template, fits, samples_of
from ilf.protocols import Generator, Prompt, Row
from rankers import RankerError, fill
from rankers._lm import settings_only

log = logging.getLogger("ilf")


@dataclass(frozen=True)
class CritiquesInContext:
    """Asks another generator with the ``k`` nearest past (prompt, output, critique) before the prompt.

    A control for whatever learns from critiques: the same people's seconds and no training. ``memory`` is the
    folder that the strategy ``remember`` wrote (``steps.NAME``). Near are past prompts that share rare words
    with the prompt (cosine of tf-idf; no package needed), or with ``encoder`` those that are near in meaning
    (``all-MiniLM-L6-v2``, a folder or a hub id, as in the ranker ``similarity``). The nearest stands last,
    next to the prompt (Liu et al. 2022, arXiv 2101.06804, section 3).

    ``form`` words the examples and what is around them; ``example`` and ``template`` put one's own words in
    their place. Where the model's context has no room for all ``k`` the farthest are left out, which is
    counted and logged; where it has none for a single one, the prompt is asked as it is. A prompt of several
    messages becomes one text.
    """

    generator: Generator
    memory: str
    k: int = 4
    form: str = "instruct"
    example: str | None = None
    """One example, with ``{prompt}``, ``{output}`` and ``{critique}``; that of the form by default."""
    template: str | None = None
    """What is asked, with ``{examples}`` and ``{prompt}``; that of the form by default."""
    encoder: str = ""
    device: str = "auto"
    """Where the encoder runs."""

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be shown."""
        if self.k < 1:
            raise UsageError(f"critiques_in_context.k: {self.k} must be 1 or more.")
        for setting, use in (("example", "in_context_example"), ("template", "in_context")):
            if getattr(self, setting) is None:
                form_template(self.form, use, "critiques_in_context")
        check_template("critiques_in_context.example", self._example, "critique")
        check_template("critiques_in_context.template", self._template, "examples", "prompt")
        try:
            self._filled("", [{"prompt": "", "output": "", "critique": ""}])
        except RankerError as error:
            raise UsageError(f"critiques_in_context: {error}.") from None

    @property
    def samples_per_answer(self) -> float:
        """Texts sampled for each one asked for: those of the other generator."""
        return samples_of(self.generator)

    @functools.cached_property
    def _past(self) -> tuple[list[Row], Near]:
        """What was said, and where to look; read once. Raises ComponentError without it."""
        rows = read_critiques(self.memory, "critiques_in_context")
        return rows, Near([row["prompt"] for row in rows], self.encoder, self.device, "critiques_in_context")

    def __getstate__(self) -> dict[str, Any]:
        """Settings travel between processes, what was read does not."""
        return settings_only(self)

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the prompt, if need be without examples, leaves the other generator room for an answer."""
        return fits(self.generator, prompt)

    def generate(self, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> list[list[str]]:
        """The other generator's ``n`` completions of every prompt behind its examples."""
        check_asked("critiques_in_context", prompts, n, seeds)
        return self.generator.generate(self.asked(prompts), n, seeds)

    def asked(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """What the other generator is asked for every prompt."""
        rows, near = self._past
        asked: list[Prompt] = []
        n_cut = n_left_out = 0
        for prompt, found in zip(prompts, near.nearest(prompts, self.k), strict=True):
            examples = [rows[i] for i in reversed(found)]  # the nearest last
            while examples and not fits(self.generator, self._filled(prompt, examples)):
                examples = examples[1:]
            n_cut += len(examples) < len(found)
            n_left_out += len(found) - len(examples)
            asked.append(self._filled(prompt, examples) if examples else prompt)
        if n_cut:
            log.warning(
                "critiques_in_context: %d of %d prompts had no room for %d critiques in the model's context; "
                "%d critiques were left out, the farthest first",
                n_cut, len(prompts), self.k, n_left_out,
            )  # fmt: skip
        return asked

    @property
    def _example(self) -> str:
        if self.example is not None:
            return self.example
        return form_template(self.form, "in_context_example", "critiques_in_context")

    @property
    def _template(self) -> str:
        if self.template is not None:
            return self.template
        return form_template(self.form, "in_context", "critiques_in_context")

    def _filled(self, prompt: Prompt, examples: Sequence[Row]) -> str:
        told = "".join(fill(self._example, example) for example in examples)
        return fill(self._template, {"examples": told, "prompt": prompt})
