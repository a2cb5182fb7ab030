"""The sentences of a comparison, made from its numbers: the answer with its uncertainty first."""

from __future__ import annotations

from ilf._report.claims import OWN, Standing, lacking, same_price, standings, why_not, winner
from ilf._report.figures import (
    Json,
    corrected_p,
    difference,
    estimate,
    hours,
    number,
    plain,
    probability,
    verdict,
)
from ilf._report.telling import Cast
from ilf._report.versus import versus_sentences
from ilf._report.worth_words import compared, in_world, worth_sentences

#: The answer is not claimed from fewer answers than were planned (shares).
_LOOKING = (
    "Estimates only, no verdict before the planned answers are in: step '{step}' has {now:.0%} of its "
    "answers, {planned:.0%} were planned."
)
#: Of an arm whose grades are no evidence, whatever they are.
_OWN_JUDGE = "is graded by a model whose marks it learnt from or picks by"
#: Arms beside the highest that the answer names.
_OTHERS = 4


def headline(result: Json) -> list[str]:
    """Sentences made from the numbers: the answer first, then what controls say of it, then the rest.

    That feedback paid is said only of an arm that beats the base, the same loop told nothing, and critiques
    used without training at the same price; otherwise what was not shown, with what could have been seen.
    While people still annotate (``looks``) there are estimates and no verdict.
    """
    cast = Cast(result)
    looks = result.get("looks")
    if looks:
        known = [arm for arm in cast.telling[0] if number(arm.get("grade")) is not None]
        told = ", ".join(f"{arm['arm']} {estimate(arm)}" for arm in known)
        shares = {key: number(looks.get(key)) or 0.0 for key in ("now", "planned")}
        return [_LOOKING.format(step=looks.get("step"), **shares), *([f"So far: {told}."] if told else [])]
    answer, worth = _answer(cast), worth_sentences(result)
    if answer:
        crossed = versus_sentences(result)
        return [*answer, *_others(cast), *crossed, *_apart(cast), *_in_context(cast), *worth, *_seeds(result)]
    return [*versus_sentences(result), *(worth or _against_controls(cast)), *_highest(cast), *_seeds(result)]


def _answer(cast: Cast) -> list[str]:
    """The one sentence: of the highest arm that beats all it has to, else of the highest; [] without base."""
    arm = winner(cast) or cast.leader
    if arm is None or not cast.result.get("controls") or cast.playing("base", arm.get("budget")) is None:
        return []
    base, *others = standings(cast, arm)
    world = in_world(cast.result)
    if base.kind != "more":
        return [_not_above(cast, arm, base, world)]
    name = f"{arm['arm']} ({hours(arm.get('human_seconds'))} human hours)"
    reached = f"{name} reaches {plain(arm['grade'])}, {base.size}"
    also = _also(cast, arm, [one for one in others if one.kind == "more"])
    missing = _missing(cast, others)
    doubts = [f"is {missing}"] if missing else []
    doubts += [_OWN_JUDGE] if arm["arm"] in cast.not_held_out else []
    if doubts:
        start = f"{world}it" if world else "It"
        start += " is not shown that the feedback was worth its price"
        return [f"{start}: {reached} from the base, but {' and '.join(doubts)}{also}."]
    start = f"{world}feedback" if world else "Feedback"
    return [f"{start} was worth paying for: {reached} above the base{also}."]


def _others(cast: Cast) -> list[str]:
    """Which of the other arms that people were paid for beat all that they have to, and which do not."""
    first = winner(cast)
    if first is None:
        return []
    others = [arm for arm in cast.telling[0] if arm is not first and arm in cast.paid][:_OTHERS]
    own = [arm for arm in others if arm["arm"] in cast.not_held_out]
    others = [arm for arm in others if arm not in own]
    also = [f"{arm['arm']} ({plain(arm['grade'])})" for arm in others if not lacking(cast, arm)]
    said = [f"so does {also[0]}" if len(also) == 1 else f"so do {', '.join(also)}"] if also else []
    for arm in others:
        open_ = lacking(cast, arm)
        if open_:
            named = " and ".join(one.words for one in open_)
            said.append(f"{arm['arm']} ({plain(arm['grade'])}) is not shown to beat {named}")
    said += [f"{arm['arm']} ({plain(arm['grade'])}) {_OWN_JUDGE}" for arm in own]
    text = "; ".join(said)
    return [f"Of the others that people were paid for, {text}."] if text else []


def _also(cast: Cast, arm: Json, beaten: list[Standing]) -> str:
    """What else it beats: its controls, and critiques used without training, for which as much was paid."""
    free = [str(one) for one in beaten if one.role in (OWN, "no_feedback")]
    paid = [one for one in beaten if one.role not in (OWN, "no_feedback")]
    if paid and same_price(cast, arm, paid):
        before = f"{', '.join(free)}, and " if free else ""
        return f"; it also beats {before}at the same human hours {' and '.join(map(str, paid))}"
    *first, last = [*free, *map(str, paid)] or [""]
    return f"; it also beats {' and '.join(filter(None, [', '.join(first), last]))}" if last else ""


def _missing(cast: Cast, others: list[Standing]) -> str:
    """What stands in the way of the claim; empty where nothing does."""
    level = [one for one in others if one.kind in ("none", "less", "unsettled")]
    absent = [one for one in others if one.kind == "unknown"]
    reasons = {str(row.get("control")): row.get("reason") for row in cast.result.get("controls") or []}
    said = []
    if level:
        each = [f"{one.words} ({one.size}{one.seen.replace(',', ';', 1)})" for one in level]
        said.append("not shown to be above " + ", ".join(each))
    if absent:
        each = [one.words + (f" ({reasons[one.role]})" if reasons.get(one.role) else "") for one in absent]
        said.append("not compared with " + ", ".join(each))
    return " and ".join(said)


def _not_above(cast: Cast, arm: Json, base: Standing, world: str) -> str:
    """The highest arm is not shown to beat the base; whether another is, and what could have been seen."""
    others = [each for each in cast.tried if verdict(each.get("vs_base")) == "more"]
    said = f"{arm['arm']} reaches {estimate(arm)}"
    if others:
        named = f"{others[0]['arm']} is ({difference(others[0]['vs_base'])})"
        start = f"{world}the" if world else "The"
        said = f"{start} highest arm is not shown to beat the base, though {named}. {said}"
    else:
        start = f"{world}no" if world else "No"
        paid = "arm that people were paid for" if number(arm.get("human_seconds")) != 0 else "arm"
        said = f"{start} {paid} is shown to beat the base. The highest, {said}"
    if base.contrast is None or base.kind == "unknown":
        return f"{said}; its difference to the base was not measured."
    if base.contrast.get("same") is True:
        margin = plain(cast.result.get("margin"), 2)
        return f"{said} and is shown to be the same as the base within {margin} ({base.size})."
    mde = number(base.contrast.get("mde"))
    seen = "" if mde is None else f"; this design could have seen {plain(mde)}"
    if base.kind == "unsettled":
        p = probability(corrected_p(base.contrast))
        seen = f"; the interval leaves out 0, but p corrected for all arms is {p}"
    return f"{said}, {base.size} from the base{seen}."


def _apart(cast: Cast) -> list[str]:
    """From which other arms that were tried the highest is not told apart."""
    arm, beaten = cast.leader, cast.result.get("beaten") or {}
    if arm is None or arm["arm"] not in (beaten.get("arms") or []) or len(cast.tried) < 2:
        return []
    near = {str(name) for group in beaten.get("groups") or [] if arm["arm"] in group for name in group}
    level = [str(each["arm"]) for each in cast.tried if each is not arm and str(each["arm"]) in near]
    if not level:
        return [f"{arm['arm']} is told apart from every other arm that was tried."]
    few = ", ".join(level[:4]) + (f" and {len(level) - 4} more" if len(level) > 4 else "")
    return [
        f"{arm['arm']} is the highest of {len(cast.tried)} that were tried, and not told apart from {few}."
    ]


def _in_context(cast: Cast) -> list[str]:
    """Whether the model was seen to use critiques in its prompt: beside that arm's control, or the base."""
    control = cast.playing("critiques_in_context", (cast.leader or {}).get("budget")) or {}
    found = control.get("vs") or control.get("vs_base")
    kind = verdict(found)
    if found is None or kind in ("unknown", "early"):
        return []
    other = str(found.get("control") or "the base")
    if kind == "more":
        return [f"The model does use critiques in its prompt: {difference(found)} above {other}, untrained."]
    mde = number(found.get("mde"))
    seen = f", could have seen {plain(mde)}" if mde is not None and kind == "none" else ""
    return [
        f"Critiques in the prompt are not above {other} ({difference(found)}{seen}): this model was not seen "
        "to use critiques in its prompt, so that beating them says little."
    ]


def _against_controls(cast: Cast) -> list[str]:
    """Where no base is known: each arm against its own control."""
    pairs = [(str(arm["arm"]), arm["vs"]) for arm in cast.arms if arm.get("vs")]
    if not pairs:
        return []
    return [compared(pairs, "Graded {} their control (95 % intervals): {}", ("above", "below"), "arms")]


def _highest(cast: Cast) -> list[str]:
    known = [arm for arm in cast.tried if number(arm.get("grade")) is not None]
    if not known:
        return []
    hours_ = number(known[0].get("human_seconds"))
    paid = "" if hours_ is None else f", for {hours(hours_)} human hours"
    which = f"Highest of the {len(known)} arms" if len(known) > 1 else "The one arm"
    measured = "measured that are no controls" if len(known) > 1 else "measured that is no control"
    return [f"{which} {measured}: {known[0]['arm']} {estimate(known[0])}{paid}."]


def _seeds(result: Json) -> list[str]:
    seeds = [arm["seeds"] for arm in result.get("arms") or [] if number(arm.get("seeds")) is not None]
    if not seeds or min(seeds) > 2:
        return []
    if min(seeds) == 1:
        return ["One seed: training variance unknown, the intervals are too narrow for a claim."]
    return ["Two seeds: training variance hardly known, a claim needs three or more."]


def warnings(result: Json) -> list[tuple[str, str]]:
    """(kind, sentence) of every flag: what a reader must not miss."""
    by_name = Cast(result).by_name
    return [
        (str(flag.get("kind")), _warning(flag, by_name.get(str(flag.get("arm")))))
        for flag in result.get("flags") or []
    ]


def _warning(flag: Json, arm: Json | None) -> str:
    found = flag.get("contrast") or {}
    size, control = difference(found), found.get("control") or "the base"
    if flag.get("kind") == "worse_than_base":
        return f"{flag['arm']} is worse than the model that nobody trained: {size}."
    if flag.get("kind") == "traded":
        return (
            f"{flag['arm']} is better on preference and worse on {flag.get('axis')}: {size} beside the base."
        )
    if flag.get("kind") == "not_held_out":
        return _not_held_out(flag)
    kind = verdict(found)
    beside = why_not(found, kind) if kind in ("none", "unsettled") else ""
    paid = "" if arm is None else f" {hours(arm.get('human_seconds'))} human hours"
    return (
        f"{flag['arm']}: nothing is shown to have been bought by{paid or ' what was paid'}. It is not above "
        f"{control} ({size}{beside}); what it learnt from may be broken, or about something else."
    )


def _not_held_out(flag: Json) -> str:
    axes = flag.get("axes") or [None]
    where = ["its grade" if axis is None else f"axis {axis}" for axis in axes]
    return (
        f"{flag['arm']}: {' and '.join(where)} was given by {flag.get('model')}, the very model whose marks "
        "it learnt from or picks by; such a model gives good marks for bad texts. Grade with one that is "
        "held out."
    )
