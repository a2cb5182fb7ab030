"""Pages from the templates beside this file: everything escaped, no script, the same bytes each time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ilf._report import figures
from ilf.records import messages_text

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FILTERS = ("plain", "signed", "probability", "hours", "estimate", "number", "corrected_p", "difference")


def page(template: str, **values: Any) -> str:
    """The template filled with the values as one HTML text without script or outside address."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(figures, name) for name in _FILTERS})
    environment.filters.update(minus=minus, words=messages_text)
    return environment.get_template(template).render(values)


def _clean(value: object) -> object:
    """What no HTML file may hold (control characters, lone surrogates) becomes the replacement character."""
    if value is None:
        return ""
    return type(value)(_UNPRINTABLE.sub("\ufffd", value)) if isinstance(value, str) else value


def minus(text: object) -> str:
    """A real minus sign before numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "\u2212", str(text))
