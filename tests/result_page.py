"""A comparison's result to draw, the same with hostile text in it, and a page taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

HOSTILE = (
    "<script>window.pwned=1</script></textarea></title></style><img src=x onerror=alert(1)>"
    "\"'`><svg/onload=alert(1)> \u2028 {{ 7*7 }} {% raw %} &lt; \x00\x1b[31m \ud800 \u202e javascript:alert(1)"
)
VOID = {"meta", "link", "wbr", "img", "br"}


def contrast(difference: float | None, reach: float = 0.02, **more: Any) -> dict[str, Any]:
    if difference is None:
        return {"difference": None, "low": None, "high": None, "p": None, **more}
    return {
        "difference": difference,
        "low": difference - reach,
        "high": difference + reach,
        "p": 0.001,
        **more,
    }


def an_arm(name: str, grade: float | None, **more: Any) -> dict[str, Any]:
    ends = {} if grade is None else {"low": grade - 0.02, "high": grade + 0.02}
    return {
        "arm": name,
        "about": f"about {name}",
        "grade": grade,
        "low": None,
        "high": None,
        **ends,
        "parts": {"recall": 0.5, "bias": None},
        "seeds": 3,
        "rows": 100,
        "human_seconds": 18_250.0,
        "compute_seconds": 1234.5,
        "is_control": False,
        "vs": None,
        **more,
    }


def a_result() -> dict[str, Any]:
    vs = {"control": "sft_initial", **contrast(0.2)}
    example = {
        "prompt": [{"role": "user", "content": "Sum it up."}],
        "output": " An output.",
        "critique": "The price is missing.",
        "refinements": [" First rewrite.", " Second rewrite."],
        "scores": {"chance": [0.25, 0.5], "fixpoint": [-3.5, -1.25]},
        "picked": {"chance": 1, "fixpoint": 1},
        "grades": [0.4, None],
        "answers": {"base": " An answer."},
    }
    return {
        "recipe": "nano",
        "about": "three arms",
        "run": "runs/nano",
        "command": "ilf compare nano",
        "version": "0.1.0",
        "made": None,
        "world_note": "closed world: it tests the machinery and is no evidence about people",
        "arms": [
            an_arm("base", 0.49, is_control=True, human_seconds=0),
            an_arm("sft_initial", 0.48, is_control=True),
            an_arm("ilf_fixpoint", 0.88, vs=vs),
            an_arm(
                "ppo",
                None,
                reason="the reward was not finite",
                vs={"control": "sft_initial", **contrast(None)},
            ),
        ],
        "worth": [
            worth_row("chance", 0.738, vs_none=contrast(0.14), vs_shuffled=contrast(0.1)),
            worth_row("fixpoint", 0.888, vs_none=contrast(0.01, mde=0.03), vs_shuffled=contrast(-0.01)),
            worth_row("oracle", 0.89, vs_none=contrast(0.3), vs_shuffled=contrast(0.3)),
        ],
        "picks": [
            {"ranker": "chance", "grade": 0.78, "low": 0.77, "high": 0.79, "headroom": 0.0, "tau": None},
            {"ranker": "judge", "grade": None, "low": None, "high": None, "reason": "needs model="},
        ],
        "generalisation": [
            {"arm": "base", "split": "iid", "grade": 0.499, "low": 0.48, "high": 0.52},
            {"arm": "base", "split": "held_phrasing", "grade": 0.454, "low": 0.43, "high": 0.48},
        ],
        "examples": [example],
        "counts": {"refinements cut at the token limit": 4},
        "notes": ["Times were measured on a shared machine."],
        "p_correction": "Holm",
    }


def worth_row(ranker: str, real: float, **more: Any) -> dict[str, Any]:
    return {"ranker": ranker, "real": real, "shuffled": 0.63, "none": 0.6, "own": 0.48, **more}


class Page(HTMLParser):
    """Start tags with their attributes, the text, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def poisoned(value: Any) -> Any:
    """The same structure with hostile text behind every string, keys of the user included."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    return value


def poisoned_result() -> dict[str, Any]:
    result = poisoned(a_result())
    for arm in result["arms"]:
        arm["parts"] = {poisoned(name): part for name, part in arm["parts"].items()}
    for example in result["examples"]:
        for key in ("scores", "picked", "answers"):
            example[key] = {poisoned(name): found for name, found in example[key].items()}
    result["counts"] = poisoned({name + HOSTILE: count for name, count in result["counts"].items()})
    return json.loads(json.dumps(result))
