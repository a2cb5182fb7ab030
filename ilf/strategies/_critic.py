"""How a critic is asked, and what it is then to say: the same for tuning one and for reading one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankers import fill
from rankers._lm import LM, Chat


def asked_and_said(
    template: str, row: Mapping[str, Any], critique: str, lm: LM, chat: Chat
) -> tuple[str, str]:
    """The question to a critic about the row's output, and the critique as the completion behind it.

    A space joins them unless the question, or the model's chat template, ends open: the join of the ranker
    ``critique_perplexity``.
    """
    asked = fill(template, row)
    is_open = (chat == "auto" and lm.has_chat_template) or asked[-1:].isspace()
    return asked, critique if is_open else f" {critique}"
