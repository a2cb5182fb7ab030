"""What generators that use others ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ilf.errors import UsageError
from ilf.protocols import Generator, Prompt


def samples_of(generator: Generator) -> float:
    """Texts that a generator samples for each one asked for; one where it does not say."""
    return float(getattr(generator, "samples_per_answer", 1.0))


def fits(generator: Generator, prompt: Prompt) -> bool:
    """Whether a prompt leaves room for an answer in a generator's context; yes where it does not say."""
    has_room: Any = getattr(generator, "has_room", None)
    return has_room is None or bool(has_room(prompt))


def check_asked(who: str, prompts: Sequence[Prompt], n: int, seeds: Sequence[int]) -> None:
    """UsageError, naming ``who``, for no completions, and for prompts without a seed of their own."""
    if n < 1:
        raise UsageError(f"{who}: {n} completions asked for, must be 1 or more.")
    if len(prompts) != len(seeds):
        raise UsageError(f"{who}: {len(prompts)} prompts and {len(seeds)} seeds; every prompt has its own.")


def check_template(where: str, template: str, *needed: str) -> None:
    """UsageError, naming ``where``, for a template in which one of the ``{names}`` does not stand."""
    missing = [name for name in needed if f"{{{name}}}" not in template]
    if missing:
        raise UsageError(f"{where}: {{{missing[0]}}} must stand in it; it is {template!r}.")
