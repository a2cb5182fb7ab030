"""Prompt forms: how a row becomes the text that a model is asked to complete, from ``prompt_forms.yaml``."""

from __future__ import annotations

import functools
from pathlib import Path

from ilf.errors import UsageError, nearest


@functools.cache
def prompt_forms() -> dict[str, dict[str, str]]:
    """The prompt forms of ``prompt_forms.yaml``: form -> use (``refine`` ...) -> template."""
    import yaml

    forms: dict[str, dict[str, str]] = yaml.safe_load(
        (Path(__file__).parent / "prompt_forms.yaml").read_text(encoding="utf-8")
    )
    return forms


def form_template(form: str, use: str, who: str) -> str:
    """The template of a form for a use; UsageError, naming ``who``, where there is no such form."""
    forms = prompt_forms()
    if form not in forms:
        raise UsageError(
            f"{who}.form: no prompt form '{form}'.{nearest(form, forms)} Forms: {', '.join(forms)}"
        )
    return forms[form][use]
