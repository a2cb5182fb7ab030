"""What an arm has to beat before it may be said that its feedback paid, and how it stands to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ilf._report.figures import Json, corrected_p, difference, number, plain, probability, signed, verdict
from ilf._report.telling import NEEDED, SPOKEN, Cast, pairwise

#: Besides the controls of ``NEEDED``: the arm's own, where it is none of them.
OWN = "own"


@dataclass(frozen=True)
class Standing:
    """How an arm stands to a control; ``contrast`` is None where the two were not compared."""

    role: str
    words: str
    contrast: Json | None

    @property
    def kind(self) -> str:
        """``more, less, none, unsettled, early`` or ``unknown``."""
        if self.contrast is None:
            return "unknown"
        return pairwise(self.contrast) if self.contrast.get("pairwise") else verdict(self.contrast)

    @property
    def size(self) -> str:
        """The difference with its interval; with its corrected p where the table of all pairs has none."""
        if self.contrast is None:
            return "not measured"
        if not self.contrast.get("pairwise"):
            return difference(self.contrast)
        p = probability(corrected_p(self.contrast))
        return (
            f"{signed(self.contrast.get('difference'))}, p {p.replace('<', '< ') if '<' in p else '= ' + p}"
        )

    @property
    def seen(self) -> str:
        """``, could have seen 0.030`` where that is known; of an unsettled one its corrected p."""
        return why_not(self.contrast or {}, self.kind)

    def __str__(self) -> str:
        return f"{self.words} ({self.size})"


def why_not(contrast: Json, kind: str) -> str:
    """What stands behind a difference that is not shown: the least that could have been seen, or its p.

    Of one whose interval leaves out 0 (``unsettled``) only p, corrected for all arms, says why it is not.
    """
    if kind == "unsettled" and not contrast.get("pairwise"):
        return f", but p corrected for all arms is {probability(corrected_p(contrast))}"
    mde = number(contrast.get("mde"))
    return "" if mde is None else f", could have seen {plain(mde)}"


def standings(cast: Cast, arm: Json) -> list[Standing]:
    """How an arm stands to the base, its own control, the loop without feedback, and critiques untrained.

    Its own control is what is left of it without feedback (``no_feedback_fixpoint`` of ``ilf_fixpoint``):
    stricter than the loop without feedback that any ranker could have.
    """
    found = [Standing(role, SPOKEN[role], _contrast(cast, arm, role)) for role in NEEDED]
    vs = arm.get("vs")
    named = {str((each.contrast or {}).get("control")) for each in found}
    if vs and str(vs.get("control")) not in named:
        found.insert(1, Standing(OWN, f"its control {vs.get('control')}", vs))
    return found


def lacking(cast: Cast, arm: Json) -> list[Standing]:
    """Those that an arm has to beat and is not shown to."""
    return [each for each in standings(cast, arm) if each.kind != "more"]


def winner(cast: Cast) -> Json | None:
    """The highest arm that beats all that it has to, in the eyes of a grader that is held out from it."""
    held_out = (each for each in cast.paid if each["arm"] not in cast.not_held_out)
    return next((each for each in held_out if not lacking(cast, each)), None)


def _contrast(cast: Cast, arm: Json, role: str) -> Json | None:
    if role == "no_feedback" and arm.get("vs_free"):
        return arm["vs_free"]  # type: ignore[no-any-return]
    control = cast.playing(role, arm.get("budget"))
    return None if control is None else cast.standing(arm, str(control["arm"]))


def same_price(cast: Cast, arm: Json, beaten: Sequence[Standing]) -> bool:
    """Whether as many human hours were paid for the controls as for the arm, within 1 %."""
    own = number(arm.get("human_seconds"))
    each = [number((cast.playing(one.role, arm.get("budget")) or {}).get("human_seconds")) for one in beaten]
    return own is not None and all(one is not None and abs(one - own) <= 0.01 * own for one in each)


def standing_words(found: Json) -> tuple[str, str]:
    """(verdict, words) of how one arm stands to another: ``above it (+0.1 [...])``."""
    one = Standing("", "", found)
    words = {
        "more": "above it",
        "less": "below it",
        "unknown": "not measured beside it",
        "early": "no verdict yet",
    }
    seen = one.seen if one.kind == "none" else ""
    return one.kind, f"{words.get(one.kind, 'not shown to differ')} ({one.size}{seen})"
