"""A comparison's result to draw, the same with hostile text in it, and a page taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

HOSTILE = (
    "<script>window.pwned=1</script></textarea></title></style><img src=x onerror=alert(1)>"
    "\"'`><svg/onload=alert(1)> \u2028 {{ 7*7 }} {% raw %} &lt; \x00\x1b[31m \ud800 \u202e javascript:alert(1)"
)
VOID = {"meta", "link", "wbr", "img", "br", "input", "col"}


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


# --- a whole result: budgets, controls, axes, pairs, plan, ledger, texts

BUDGETS = (2_000.0, 20_000.0, 200_000.0)
ROLES = {
    "base": 0.49,
    "own_outputs": 0.5,
    "no_feedback": 0.6,
    "shuffled": 0.61,
    "critiques_in_context": 0.5,
    "prompt_from_critiques": 0.52,
}
TRIED = {"ilf_fixpoint": 0.88, "dpo": 0.8, "ppo": 0.7, "innocent": 0.6}


def a_full_result(**change: Any) -> dict[str, Any]:
    """Arms at three budgets with all that a comparison tells; ``innocent`` is the planted broken one."""
    arms = [*_free("base", 0.49), *_free("own_outputs", 0.5), *_free("no_feedback", 0.6)]
    for role in ("shuffled", "critiques_in_context", "prompt_from_critiques"):
        arms += [_at(role, ROLES[role], budget, is_control=True) for budget in BUDGETS]
    for name, grade in TRIED.items():
        arms += [_at(name, grade, budget) for budget in BUDGETS]
    best = next(arm for arm in arms if arm["arm"] == "ilf_fixpoint@200000")
    best["samples_per_answer"] = 64.0
    best["vs"]["planned"] = False
    names = [arm["arm"] for arm in sorted(arms, key=lambda arm: -arm["grade"])]
    grades = {arm["arm"]: arm["grade"] for arm in arms}
    broken = next(arm for arm in arms if arm["arm"] == "innocent@200000")
    result = {
        **a_result(),
        "seeds": [0, 1, 2],
        "budgets": list(BUDGETS),
        "test_prompts": 200,
        "margin": 0.05,
        "arms": arms,
        "beaten": _beaten(names, grades),
        "axes": _axes(arms),
        "flags": [
            {"kind": "nothing_bought", "arm": broken["arm"], "contrast": broken["vs_free"]},
            {
                "kind": "traded",
                "arm": "dpo@200000",
                "axis": "toxicity",
                "contrast": contrast(0.1, control="base"),
            },
            {"kind": "worse_than_base", "arm": "ppo@2000", "contrast": contrast(-0.1, control="base")},
        ],
        "controls": _controls(arms),
        "plan": _plan(arms),
        "ledger": {
            "human_seconds": 222_000.0,
            "annotations": 1_221,
            "by_job": {
                "critique": {"annotations": 111, "seconds": 111_000.0},
                "rank": {"annotations": 1_110, "seconds": 111_000.0},
            },
            "money": 1_233.0,
            "wall_seconds": 400.0,
            "cpu_seconds": 700.0,
            "steps": 60,
            "energy": {"joules": 72_000.0, "method": "codecarbon, process, RAPL"},
        },
        "answers": [
            {
                "prompt": f"Test prompt {i}.",
                "arms": {arm["arm"]: {"text": f"Answer of {arm['arm']}.", "grade": 0.5} for arm in arms},
            }
            for i in range(2)
        ],
        "preferences": _preferences(arms),
        "agreement": [
            {
                "step": "collect",
                "job": "critique",
                "people": 3,
                "outputs": 60,
                "shared": 40,
                "figures": [
                    {
                        "measure": "alpha",
                        "about": "faults",
                        "value": 0.61,
                        "low": 0.5,
                        "high": 0.7,
                        "by_chance": 0.0,
                    },
                    {"measure": "W", "about": "", "value": None, "reason": "too few", "by_chance": None},
                ],
            },
            {"step": "said", "job": "demonstrate", "people": 2, "outputs": 9, "shared": 4, "figures": []},
        ],
    }
    return {**result, **change}


def _free(name: str, grade: float) -> list[dict[str, Any]]:
    more = {} if name == "base" else {"vs_base": contrast(grade - 0.49, control="base")}
    vs = None if name == "base" else {**more["vs_base"], "planned": True}
    return [
        an_arm(name, grade, is_control=True, of=name, budget=None, human_seconds=0.0, vs=vs, **more),
    ]


def _at(name: str, grade: float, budget: float, *, is_control: bool = False) -> dict[str, Any]:
    grade = grade - 0.1 * (2 - BUDGETS.index(budget)) * (grade > 0.6)
    above = {"control": "no_feedback", **contrast(round(grade - 0.6, 6), mde=0.03, same=False)}
    return an_arm(
        f"{name}@{budget:.0f}",
        grade,
        of=name,
        budget=budget,
        is_control=is_control,
        human_seconds=budget,
        money=budget / 3600 * 20,
        samples_per_answer=1.0,
        annotations=budget / 180,
        unlabelled_prompts=0.0,
        cpu_seconds=12.0,
        updates=100.0,
        words=31.0,
        answer_seconds=0.02,
        vs={**above, "p_holm": 0.002, "bootstrap": [0.1, 0.2], "planned": True},
        vs_base=contrast(round(grade - 0.49, 6), control="base", mde=0.03),
        **({} if is_control else {"vs_free": above}),
    )


def _beaten(names: list[str], grades: dict[str, float]) -> dict[str, Any]:
    size = [[None if a == b else grades[a] - grades[b] for b in names] for a in names]
    p = [[None if d is None else 0.001 if abs(d) > 0.03 else 0.4 for d in row] for row in size]
    groups: list[list[str]] = []
    for name in names:
        group = [other for other in names if 0 <= grades[name] - grades[other] <= 0.03]
        if not groups or not set(group) <= set(groups[-1]):
            groups.append(group)
    letters = {
        n: "".join("abcdefghijklmnopqrstuvwxyz"[i] for i, g in enumerate(groups) if n in g) for n in names
    }
    return {
        "arms": names,
        "differences": size,
        "p_holm": p,
        "groups": groups,
        "letters": letters,
        "left_out": 0,
    }


def _axes(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def rows(scale: float, verdict: str) -> list[dict[str, Any]]:
        return [{"arm": "base", "after": 0.49}] + [
            {
                "arm": arm["arm"],
                "before": 0.49,
                "after": 0.49 + scale * (arm["grade"] - 0.49),
                **contrast(scale * (arm["grade"] - 0.49)),
                "p_holm": 0.01,
                "mde": 0.03,
                "prompts": 100,
                "verdict": verdict if abs(arm["grade"] - 0.49) > 0.05 else "none",
            }
            for arm in arms[1:]
        ]

    return [
        {
            "axis": "response preference",
            "measure": "grade",
            "better": "higher",
            "prompts": 200,
            "rows": rows(1, "better"),
        },
        {
            "axis": "toxicity",
            "measure": "toxicity",
            "better": "lower",
            "prompts": 100,
            "about": "rude words",
            "rows": rows(0.5, "worse"),
        },
        {
            "axis": "bias",
            "measure": "bias",
            "reason": "the grader of 'evaluate' has no part 'bias'",
            "rows": [],
        },
    ]


def _controls(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for role in ROLES:
        for arm in arms:
            if arm["of"] == role:
                kept = {key: arm[key] for key in ("grade", "low", "high", "budget", "human_seconds")}
                found.append(
                    {
                        "control": role,
                        "what": f"what {role} is",
                        "arm": arm["arm"],
                        **kept,
                        "vs_base": arm.get("vs_base"),
                    }
                )
    return [*found, {"control": "oracle", "what": "ground truth", "arm": None, "reason": "switched off"}]


def _plan(arms: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "plan": {
            "target": "evaluate",
            "seeds": [0, 1, 2],
            "budgets": list(BUDGETS),
            "arms": {arm["arm"]: "key" for arm in arms},
            "comparisons": [[arm["arm"], arm["vs"]["control"]] for arm in arms if arm["vs"]],
            "controls": {},
            "axes": ["twins"],
            "rows": {"load": 100, "test": 200},
            "margin": 0.05,
            "method": {"unit": "test prompt", "interval": "95 %", "family": "Holm", "alpha": 0.05},
        },
        "digest": "0123456789abcdef",
        "graded_before": 0,
        "earlier": 1,
        "changes": [{"what": ["arm dpo was added"], "graded_before": 12}],
        "now": "x",
    }


def _preferences(arms: list[dict[str, Any]]) -> dict[str, Any]:
    def rate(grade: float) -> dict[str, Any]:
        return {"rate": grade, "low": grade - 0.03, "high": grade + 0.03}

    odds = {"log_odds": -0.3, "low": -0.4, "high": -0.2}
    return {
        "reference": "base",
        "prompts": 200,
        "arms": [
            {
                "arm": a["arm"],
                "win": rate(a["grade"]),
                "equal_length": rate(a["grade"] - 0.02),
                "strength": odds,
            }
            for a in arms[1:]
        ],
        "length_slope": odds,
        "style": [{"name": "words", **odds}],
    }
