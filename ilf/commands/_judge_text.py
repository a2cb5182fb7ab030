"""A judge of ``ilf verdict`` as text: its opinion, its card, and what people and it come to together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ilf.commands._terminal import clipped, paint, width, wrapped


def opinion_text(judge: Mapping[str, Any]) -> str:
    """The judge's win rate while there are no people's verdicts to check it against."""
    return "\n".join(
        [
            paint("A wins", "bold") + f" {share_text(judge['opinion'])}",
            wrapped(f"This is {judge['opinion']['note']}: {_names(judge)}.", width(), "  "),
            clipped(f"judge's rows: {judge['rows']}", width()),
        ]
    )


def judge_text(judge: Mapping[str, Any], meaning: str) -> str:
    """People and the judge together, what that means, and the judge's card."""
    lines = [paint("People and the judge together", "bold")]
    lines += [wrapped(line, width(), "  ") for line in _together(judge, meaning)]
    lines += ["", paint(clipped(f"The judge's card ({_names(judge)})", width()), "bold")]
    lines += [wrapped(line, width(), "  ") for line in _card(judge["card"])]
    lines.append(clipped(f"  judge's rows: {judge['rows']}", width()))
    return "\n".join(lines)


def share_text(found: Mapping[str, Any]) -> str:
    """A share in per cent with its interval, or why there is none."""
    if found["estimate"] is None:
        return f"- ({found['reason']})"
    if found["low"] is None:
        return f"{100 * found['estimate']:.1f} % (no interval: {found['reason']})"
    low, high = (100 * found[key] for key in ("low", "high"))
    return f"{100 * found['estimate']:.1f} % [{low:.1f}, {high:.1f}]"


def _names(judge: Mapping[str, Any]) -> str:
    return ", ".join(judge["annotators"])


def _together(judge: Mapping[str, Any], meaning: str) -> Iterator[str]:
    yield f"A wins {share_text(judge['combined'])}"
    if judge["combined"]["low"] is not None:
        yield meaning
        yield f"Where it and people differ it is corrected: {judge['combined']['note']}."
    yield f"By itself it says {share_text(judge['opinion'])}, and no claim rests on that."
    if judge["without_judge"]:
        yield f"{judge['without_judge']} prompts that people judged it did not: left out."
    if judge["other_pairs"]:
        yield f"{judge['other_pairs']} of its verdicts are on other pairs: not used."


def _card(card: Mapping[str, Any]) -> Iterator[str]:
    if card["unreliable"]:
        yield f"unreliable: {card['unreliable']}"
    yield f"agrees with people  {share_text(card['agreement'])}, {card['pairs']} pairs"
    yield f"  chance taken off (Cohen's kappa)  {_number(card['kappa'])}"
    if card["ece"] is None:
        yield "calibration  unknown: its verdicts have no probabilities"
    else:
        slope = _number(card["slope"])
        yield f"calibration  off by {card['ece']:.2f} on average; slope {slope}, below 1 it is too sure"
    flips = share_text(card["flips"]) if card["flips"] else "unknown: its verdicts do not tell"
    yield f"flips with the order shown  {flips}"
    longer = share_text(card["prefers_longer"])
    yield f"prefers the longer  {longer}; people do {share_text(card['people_prefer_longer'])}"


def _number(found: Mapping[str, Any]) -> str:
    if found["estimate"] is None:
        return f"- ({found['reason']})"
    if found["low"] is None:
        return f"{found['estimate']:.2f} (no interval: {found['reason']})"
    return f"{found['estimate']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
