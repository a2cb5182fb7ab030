"""Which arms a reader looks at first, what part each control plays, and how two arms stand to each other."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilf._report.figures import Json, by_grade, number

#: Controls whose roles a claim has to beat, in the order in which they are named.
NEEDED = ("base", "no_feedback", "critiques_in_context", "prompt_from_critiques")
#: Role of a control -> what a reader is told.
SPOKEN = {
    "base": "the base",
    "own_outputs": "training on its own outputs",
    "no_feedback": "the loop told nothing",
    "shuffled": "the loop told another row's critique",
    "chance": "a coin for a ranker",
    "longest": "the longest rewrite",
    "oracle": "ground truth for a ranker",
    "critiques_in_context": "critiques in the prompt",
    "prompt_from_critiques": "one instruction made from critiques",
}
#: Two grades of one arm, which two tables hold.
_SAME = 1e-9
#: Arms in each group of the first table; the rest is folded.
MOST_TRIED, MOST_CONTROLS = 7, 10


@dataclass(frozen=True)
class Cast:
    """The arms of a result by what they are there for."""

    result: Json

    @functools.cached_property
    def arms(self) -> list[Json]:
        """All arms, the highest grade first."""
        return by_grade(self.result.get("arms") or [])

    @functools.cached_property
    def by_name(self) -> dict[str, Json]:
        """Name -> arm."""
        return {str(arm["arm"]): arm for arm in self.arms}

    @functools.cached_property
    def roles(self) -> dict[str, str]:
        """Arm -> the control that it plays."""
        found: dict[str, str] = {}
        for row in self.result.get("controls") or []:
            if row.get("arm") is not None:
                found.setdefault(str(row["arm"]), str(row.get("control")))
        if not self.result.get("controls") and "base" in self.by_name:
            found["base"] = "base"
        return found

    @functools.cached_property
    def tried(self) -> list[Json]:
        """Arms that are no control and play none, the highest grade first."""
        return [a for a in self.arms if not a.get("is_control") and str(a["arm"]) not in self.roles]

    @functools.cached_property
    def paid(self) -> list[Json]:
        """Graded arms that were tried and that people were paid for; all that were tried where nobody was."""
        known = [arm for arm in self.tried if number(arm.get("grade")) is not None]
        return [arm for arm in known if number(arm.get("human_seconds")) != 0] or known

    @functools.cached_property
    def not_held_out(self) -> set[str]:
        """Arms whose grade was given by a model whose marks they learnt from or pick by."""
        flags = [flag for flag in self.result.get("flags") or [] if flag.get("kind") == "not_held_out"]
        return {str(flag["arm"]) for flag in flags if None in (flag.get("axes") or [None])}

    @property
    def leader(self) -> Json | None:
        """The highest graded of them."""
        return next(iter(self.paid), None)

    def playing(self, role: str, budget: object = None) -> Json | None:
        """The arm that plays a control at a budget (or at none); None where there is none."""
        own = [self.by_name[name] for name, its in self.roles.items() if its == role and name in self.by_name]
        at = [arm for arm in own if arm.get("budget") in (budget, None)]
        return next(iter(at), None) if budget is not None else next(iter(own), None)

    def base(self) -> float | None:
        """The grade of the model as it is."""
        found = self.playing("base")
        return None if found is None else number(found.get("grade"))

    @functools.cached_property
    def loop(self) -> Json | None:
        """The highest arm of the loop whose rankers are compared (``worth``); the leader without one."""
        real = [number(row.get("real")) for row in self.result.get("worth") or []]
        known = [value for value in real if value is not None]
        own = (arm for arm in self.paid if any(abs(float(arm["grade"]) - value) < _SAME for value in known))
        return next(own, self.leader)

    @functools.cached_property
    def telling(self) -> tuple[list[Json], list[Json]]:
        """(what was tried, controls): those to read first, at the largest budget, each at most ten.

        Of what was tried the best of every kind come first (``ilf_x`` and ``ilf_y`` are one), then the rest.
        Controls are those with a role, in their order, and those that the arms before are compared with.
        """
        last = max((number(arm.get("budget")) or 0.0 for arm in self.arms), default=0.0)
        tried = [arm for arm in self.tried if (number(arm.get("budget")) or last) == last]
        best: dict[str, Json] = {}
        for arm in tried:
            best.setdefault(_kind(arm), arm)
        first = [*best.values(), *(arm for arm in tried if arm not in best.values())][:MOST_TRIED]
        order = {role: place for place, role in enumerate(SPOKEN)}
        named = sorted(self.roles, key=lambda name: order.get(self.roles[name], len(order)))
        own = [self.by_name[name] for name in named if name in self.by_name]
        own = [arm for arm in own if (number(arm.get("budget")) or last) == last]
        against = [self.by_name.get(str((arm.get("vs") or {}).get("control"))) for arm in first]
        controls = [*own, *(arm for arm in against if arm and arm not in own and arm not in first)]
        if not self.roles:
            controls += [arm for arm in self.arms if arm.get("is_control") and arm not in controls]
        return by_grade(first), _distinct(controls)[:MOST_CONTROLS]

    @property
    def shown(self) -> list[str]:
        """Names of the telling arms."""
        return [str(arm["arm"]) for group in self.telling for arm in group]

    def standing(self, arm: Json, control: str) -> Json | None:
        """How an arm stands to another: a contrast with interval, or of the table of all pairs; else None."""
        for key, value in arm.items():
            if key.startswith("vs") and isinstance(value, Mapping) and str(value.get("control")) == control:
                return value
        return pair(self.result.get("beaten") or {}, str(arm["arm"]), control)


def pair(beaten: Json, arm: str, other: str) -> dict[str, Any] | None:
    """The difference of two arms in the table of all pairs, without an interval."""
    names = [str(name) for name in beaten.get("arms") or []]
    if arm not in names or other not in names:
        return None
    a, b = names.index(arm), names.index(other)
    found = {"difference": beaten["differences"][a][b], "p_holm": beaten["p_holm"][a][b]}
    return {"control": other, "pairwise": True, **found}


def pairwise(found: Json) -> str:
    """The verdict of a difference without interval, by its corrected p: ``more, less, none, unknown``."""
    size, p = number(found.get("difference")), number(found.get("p_holm"))
    if size is None or p is None:
        return "unknown"
    return "none" if p >= 0.05 else "more" if size > 0 else "less"


def _kind(arm: Json) -> str:
    return str(arm.get("of") or arm["arm"]).split("@")[0].split("_")[0]


def _distinct(arms: Sequence[Json]) -> list[Json]:
    return list({str(arm["arm"]): arm for arm in arms}.values())
