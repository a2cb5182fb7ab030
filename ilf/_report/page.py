"""Pages from the templates in ``templates/``: everything escaped, one script, the same bytes each time.

The content security policy lets only the script run whose sha256 it names; whatever text a row holds is text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

from ilf._report import accounts, figures
from ilf.records import messages_text

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FILTERS = (
    *("plain", "signed", "probability", "hours", "clock", "estimate", "number", "corrected_p", "difference"),
    *("verdict", "sign"),
)
FOLDER = Path(__file__).parent / "templates"


def page(template: str, **values: Any) -> str:
    """The template filled with the values as one HTML text without an outside address."""
    text: str = _environment().get_template(template).render(values)
    return text


@functools.cache
def script() -> tuple[Any, str]:
    """(the page's script as markup, its source expression for the content security policy)."""
    from markupsafe import Markup

    text = (FOLDER / "page.js").read_text(encoding="utf-8")
    code = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{code}'"


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(figures, name) for name in _FILTERS})
    environment.filters.update(
        minus=minus, words=messages_text, breakable=breakable, tip=accounts.tip, heavy=accounts.heavy
    )
    environment.globals.update(signs=figures.SIGNS)
    return environment


def breakable(name: object) -> Any:
    """A name as markup that may be broken after its underscores and before its budget."""
    from markupsafe import Markup, escape

    parts = [
        Markup("_<wbr>").join(map(escape, each.split("_"))) for each in str(_clean(str(name))).split("@")
    ]
    return Markup("<wbr>@").join(parts)


def _clean(value: object) -> object:
    """What no HTML file may hold (control characters, lone surrogates) becomes the replacement character."""
    if value is None:
        return ""
    return type(value)(_UNPRINTABLE.sub("\ufffd", value)) if isinstance(value, str) else value


def minus(text: object) -> str:
    """A real minus sign before numbers."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "\u2212", str(text))
