"""The result of ``ilf verdict`` as text of at most the terminal's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ilf.commands._judge_text import judge_text, share_text
from ilf.commands._terminal import clipped, hours, number, paint, table, visible, width, wrapped

#: Prompts listed where A lost, and where it won; reasons listed.
_EACH, _REASONS = 3, 10


def plan_text(told: Mapping[str, Any]) -> str:
    """What people would be asked."""
    people = f"{told['annotators']} people" if told["annotators"] > 1 else "one person"
    asked = (
        f"{told['pairs']} pairs of {told['prompts']} prompts would be judged without a person's time."
        if told["human_seconds"] == 0 and told["pairs"]
        else f"{told['pairs']} pairs of {told['prompts']} prompts would be judged by {people} each: "
        f"{told['verdicts']} verdicts, about {hours(told['human_seconds'])} hours of people. "
        "Nobody was asked."
    )
    return "\n".join([_sides(told), *_left_out(told, told), "", wrapped(asked, width())])


def result_text(told: Mapping[str, Any]) -> str:
    """Win rate, position, people, prompts, reasons."""
    blocks = [
        "\n".join([_sides(told), *_left_out(told["pairs"], told["pairs"])]),
        "\n".join(_answer(told)),
        _judge(told),
        _annotators(told),
        "\n".join(_people(told["people"])),
        *_prompts(told["prompts"]),
        _reasons(told["prompts"]),
        clipped(f"rows: {told['rows']}", width()),
    ]
    return "\n\n".join(block for block in blocks if block)


def _sides(told: Mapping[str, Any]) -> str:
    return "\n".join(clipped(f"{side.upper()}  {told[side]}", width()) for side in ("a", "b"))


def _left_out(told: Mapping[str, Any], pairs: Mapping[str, Any]) -> Iterator[str]:
    if alone := told["only_a"] + told["only_b"]:
        both = f"{alone} prompts stand on one side only ({told['only_a']} A, {told['only_b']} B): left out."
        yield wrapped(both, width())
    if told["matched_prompts"] > told["prompts"]:
        yield wrapped(f"{told['prompts']} of {told['matched_prompts']} common prompts were drawn.", width())
    if pairs["not_asked"]:
        yield wrapped(f"{pairs['not_asked']} further outputs of these prompts are not judged.", width())
    if pairs["identical"]:
        yield wrapped(f"{pairs['identical']} pairs are the same text: ties, not sent to people.", width())


def _answer(told: Mapping[str, Any]) -> Iterator[str]:
    verdicts, pairs = told["verdicts"], told["pairs"]
    n = sum(verdicts.values())
    yield from _headline(told)
    yield wrapped(
        f"{n} verdicts on {pairs['judged']} of {pairs['to_judge']} pairs: A {verdicts['a']}, "
        f"ties {verdicts['tie']}, B {verdicts['b']}. A tie counts half.",
        width(),
        "  ",
    )
    if pairs["identical"] and not told["no_verdict_yet"]:
        yield wrapped(f"Without the same texts: {share_text(told['win_rate_of_a_judged'])}", width(), "  ")
    place, flips = told["position"], told["flips"]
    if flips["known"]:
        flipped = f"The order shown changed {flips['flipped']} of {flips['known']} verdicts into ties."
        yield wrapped(flipped, width(), "  ")
    else:
        first = f"The first shown wins {share_text(place['first_won'])}, ties left out;"
        often = f"A stood first {place['a_stood_first']} of {place['shown_known']} times."
        yield wrapped(f"{first} {often}", width(), "  ")


def _headline(told: Mapping[str, Any]) -> Iterator[str]:
    """The win rate, and who is preferred by the one interval that may say so now."""
    rate, wins = told["win_rate_of_a"], paint("A wins", "bold")
    if told["by"] == "a model":
        yield f"{wins} {share_text(rate)}"
        yield wrapped(f"This is {rate['note']}.", width(), "  ")
    elif told["no_verdict_yet"]:
        looked = told["at_any_look"]
        yield f"{wins} {share_text(looked)} so far"
        yield wrapped(_early(told), width(), "  ")
    else:
        together = told.get("judge")
        yield f"{wins} {share_text(rate)}"
        is_open = together is None or together["combined"] is None or together["combined"]["low"] is None
        yield wrapped(_meaning(rate) if is_open else f"{_seen(rate)}, by people alone.", width(), "  ")


def _early(told: Mapping[str, Any]) -> str:
    looked, how_far = told["at_any_look"], told["no_verdict_yet"]
    if looked["low"] is None:
        return f"No verdict yet: {how_far}."
    at_level = f"interval of {100 * looked['level']:.0f} % that holds at every look"
    if told["winner"]:
        return f"{told['winner']} is preferred, though only {how_far}: the {at_level} leaves out 50 %."
    return f"No verdict yet: {how_far}, and the {at_level} does not leave out 50 %."


def _seen(found: Mapping[str, Any]) -> str:
    return f"95 % interval, {found['prompts']} prompts"


def _meaning(found: Mapping[str, Any]) -> str:
    if found["estimate"] is None:
        return "No figure: with so few prompts any would mislead."
    seen = _seen(found)
    if found["mde"] is not None:
        seen += f"; a distance of {100 * found['mde']:.1f} points from 50 % would have shown (power 80 %)"
    if found["low"] > 0.5:
        return f"A is preferred ({seen})."
    if found["high"] < 0.5:
        return f"B is preferred ({seen})."
    return f"No preference seen ({seen})."


def _judge(told: Mapping[str, Any]) -> str:
    judge = told.get("judge")
    if judge is None or judge["combined"] is None:
        return ""
    combined = judge["combined"]
    return judge_text(judge, _meaning(combined) if combined["low"] is not None else "")


def _annotators(told: Mapping[str, Any]) -> str:
    rows: list[list[object]] = [["annotator", "verdicts", "A", "tie", "B", "median s", "A wins [95 %]"]]
    for person in told["annotators"]:
        rate = person["win_rate_of_a"]
        rows.append(
            [
                clipped(person["annotator"], 20),
                person["verdicts"],
                *(person[key] for key in ("a", "tie", "b")),
                number(person["median_seconds"], 0),
                _of_person(rate),
            ]
        )
    return table(rows, right=(1, 2, 3, 4, 5)) if len(rows) > 1 else ""


def _of_person(rate: Mapping[str, Any]) -> str:
    if rate["low"] is None:
        return "too few" if rate["estimate"] is None else f"{100 * rate['estimate']:.1f} %, not all in"
    return share_text(rate)


def _people(told: Mapping[str, Any]) -> Iterator[str]:
    if told["seconds"] == 0 and not told["without_time"]:
        yield "No person's time was spent."
        return
    if told["seconds"] is None:
        yield "People's time is unknown."
        return
    missing = f" ({told['without_time']} verdicts without a time)" if told["without_time"] else ""
    median = number(told["median_seconds"], 0)
    yield wrapped(f"People spent {hours(told['seconds'])} hours, {median} s a verdict (median){missing}.",
                  width())  # fmt: skip
    if told["wage_per_hour"] is not None:
        cost = number(told["cost"], 2) if told["cost"] is not None else "unknown, as some times are"
        yield f"At {number(told['wage_per_hour'], 2)} an hour that cost {cost}."


def _prompts(prompts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The prompts where B won most clearly, and those where A did."""
    order = sorted(prompts, key=lambda prompt: prompt["score_of_a"])
    lost = [prompt for prompt in order if prompt["score_of_a"] < 0.5]
    won = [prompt for prompt in reversed(order) if prompt["score_of_a"] > 0.5]
    for name, found in (("B won", lost), ("A won", won)):
        lines = [paint(f"{name} {len(found)} of {len(prompts)} prompts, most clearly", "bold")]
        for prompt in found[:_EACH]:
            lines.append(clipped(f"  prompt  {_line(prompt['prompt'])}", width()))
            lines += [clipped(f"    {side.upper()}     {_line(prompt[side])}", width()) for side in "ab"]
        if found:
            yield "\n".join(lines)


def _line(text: str) -> str:
    return visible(" ".join(text.split()), one_line=True)


def _reasons(prompts: Sequence[Mapping[str, Any]]) -> str:
    said = [v for prompt in prompts for v in prompt["verdicts"] if v["why"]]
    lines = [clipped(f"  {v['winner'] or '='}  {_line(v['why'])}", width()) for v in said[:_REASONS]]
    if not lines:
        return ""
    shown = f", the first {_REASONS}" if len(said) > _REASONS else ""
    return "\n".join([paint(f"Reasons ({len(said)}{shown}; who won stands before each)", "bold"), *lines])
