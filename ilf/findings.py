"""From finished steps to a comparison's tables: arms, what feedback adds, picks of rankers, rows to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ilf.curves import slim
from ilf.errors import DataError
from ilf.evaluate import mean
from ilf.records import messages_text
from ilf.stats import (
    ONE_SEED,
    Interval,
    MeanSquare,
    holm,
    kendall_tau_b,
    mean_interval,
    paired_interval,
    pooled_arm_by_seed,
)
from ilf.store import Step

if TYPE_CHECKING:
    from ilf.compare import Arm, Cell, Comparison

StepOf = Callable[["Cell", str], Step]
#: Grades of one arm, (prompts, seeds).
Grades = np.ndarray[Any, Any]
#: Rows to read on the page.
EXAMPLES = 10


def arm_tables(comparison: Comparison, cells: Sequence[Cell], step: StepOf) -> dict[str, Any]:
    """The table of arms, what real feedback adds per ranker, and what was left out, from the graded rows."""
    by_arm = {arm.name: [cell for cell in cells if cell.arm == arm.name] for arm in comparison.arms}
    grades, left_out = _grades(comparison, by_arm, step)
    n_prompts = len(next(iter(grades.values())))
    trained = [name for name, own in by_arm.items() if any(s.verb == "train" for s in own[0].plan)]
    pooled = pooled_arm_by_seed(np.stack([grades[name] for name in trained])) if len(trained) > 1 else None

    def versus(name: str, control: str) -> dict[str, Any]:
        both = name in trained and control in trained
        return _difference(grades[name], grades[control], control, pooled if both else None)

    arms = []
    for arm in comparison.arms:
        entry = _arm_row(arm, by_arm[arm.name], grades[arm.name], comparison.target, step)
        arms.append({**entry, "vs": versus(arm.name, arm.control) if arm.control else None})
    _adjust([entry["vs"] for entry in arms])
    return {
        "seeds": list(comparison.seeds),
        "test_prompts": n_prompts,
        "arms": arms,
        "worth": _worth(comparison, grades, versus),
        "counts": _counts(cells, step, comparison.target, left_out),
        "notes": _notes(comparison, pooled, n_prompts, _renewed(by_arm)),
    }


def _renewed(by_arm: Mapping[str, Sequence[Cell]]) -> str:
    """What another seed draws anew in some arm, in words."""
    words = {
        "load": "posts",
        "sample": "samples",
        "critique": "critiques",
        "rank": "rankings",
        "demonstrate": "demonstrations",
        "collect": "what people say",
        "refine": "rewrites",
        "train": "training order",
    }
    found = {
        step.verb
        if step.verb != "collect"
        else job
        if (job := step.spec.settings.get("job")) in words
        else step.verb
        for cells in by_arm.values()
        for step in cells[0].plan
        if len({cell.keys[step.name] for cell in cells}) > 1
        and not (step.verb == "sample" and step.models_from)  # answers of a trained model
    }
    *first, last = [word for verb, word in words.items() if verb in found] or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


def _notes(comparison: Comparison, pooled: MeanSquare | None, n_prompts: int, renewed: str) -> list[str]:
    if len(comparison.seeds) == 1:
        return [
            f"Intervals are 95 % over {n_prompts} test prompts and one seed: {ONE_SEED}, so how far another "
            "seed would move an arm cannot be seen."
        ]
    notes = [
        f"Intervals are 95 % over {n_prompts} test prompts and {len(comparison.seeds)} seeds, both as random "
        f"effects; a seed renews {renewed}, not the start model or the test prompts."
    ]
    if pooled is not None:
        notes.append(
            f"In differences of trained arms the variance between seeds is pooled over {pooled.arms} arms; "
            "intervals of single arms rest on their own seeds and cover a little less than they say."
        )
    return notes


def _grades(
    comparison: Comparison, by_arm: dict[str, list[Cell]], step: StepOf
) -> tuple[dict[str, Grades], int]:
    """Grades as (prompts, seeds) per arm, matched by prompt, and how many prompts were left out.

    Only prompts graded in every arm and seed are kept; rows of one prompt are averaged.
    """
    order: list[str] | None = None
    grades = {}
    for name, cells in by_arm.items():
        columns = []
        for cell in cells:
            found: dict[str, list[float | None]] = {}
            for row in step(cell, comparison.target).rows():
                found.setdefault(messages_text(row["prompt"]), []).append(row["grade"])
            order = list(found) if order is None else order
            if found.keys() != set(order):
                raise DataError(
                    f"arm {name}, seed {cell.seed}: step '{comparison.target}' graded other prompts than the "
                    "first arm; nothing can be paired. Give the load step of the test its own seed (seed: 0)."
                )
            columns.append([mean(found[prompt]) for prompt in order])
        grades[name] = np.array(columns, dtype=float).T  # None becomes NaN
    # One slate for all: a prompt that one arm's answer could not be graded on is left out of every arm.
    whole = np.isfinite(np.stack(list(grades.values()))).all(axis=(0, 2))
    return {name: values[whole] for name, values in grades.items()}, int((~whole).sum())


def _arm_row(arm: Arm, cells: Sequence[Cell], grades: Grades, target: str, step: StepOf) -> dict[str, Any]:
    whole = mean_interval(grades, within=(0.0, 1.0))
    return {
        "arm": arm.name,
        "about": arm.about,
        "is_control": arm.is_control,
        **_shown(whole, "grade"),
        "parts": _parts(cells, target, step),
        "seeds": len(cells),
        "rows": _training_rows(cells[0], step),
        "human_seconds": _mean_of_all([_human_seconds(cell, step) for cell in cells]),
        "compute_seconds": mean([_compute_seconds(cell, step) for cell in cells]),
        "kl": mean([_kl(cell, step) for cell in cells]),
    }


def _shown(interval: Interval, name: str) -> dict[str, Any]:
    shown = {name: interval.estimate, "low": interval.low, "high": interval.high}
    return {**shown, "reason": interval.reason} if interval.reason else shown


def _parts(cells: Sequence[Cell], target: str, step: StepOf) -> dict[str, float | None]:
    """Mean of every named part over prompts and seeds, of the texts in which it could be measured."""
    values: dict[str, list[float | None]] = {}
    for cell in cells:
        for row in step(cell, target).rows():
            for name, value in row["parts"].items():
                values.setdefault(name, []).append(value)
    return {name: mean(found) for name, found in values.items()}


def _difference(grades: Grades, control: Grades, name: str, pooled: MeanSquare | None) -> dict[str, Any]:
    found = paired_interval(grades - control, pooled)
    entry = {"control": name, **_shown(found, "difference"), "p": found.p, "mde": found.mde}
    # That the variance between seeds is pooled is said once, in the notes.
    return {**entry, "note": found.note} if found.note and pooled is None else entry


def _adjust(entries: Sequence[dict[str, Any] | None]) -> None:
    """Adds Holm's adjusted p over all planned comparisons of the table."""
    planned = [entry for entry in entries if entry is not None]
    for entry, adjusted in zip(planned, holm([entry["p"] for entry in planned]), strict=True):
        entry["p_holm"] = adjusted


def _worth(
    comparison: Comparison, grades: dict[str, Grades], versus: Callable[[str, str], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Per ranker its grade on every source of candidates, and the differences from real refinements.

    What feedback adds is a ranker on real refinements minus the same ranker on refinements without feedback.
    """
    rankers, _ = comparison.grid
    roles = comparison.worth
    if "real" not in roles:
        return []
    table = []
    for ranker in rankers:
        arms = {role: f"{source}_{ranker}" for role, source in roles.items()}
        entry: dict[str, Any] = {"ranker": ranker}
        entry |= {role: mean_interval(grades[arm]).estimate for role, arm in arms.items()}
        entry |= {f"vs_{role}": versus(arms["real"], arm) for role, arm in arms.items() if role != "real"}
        table.append(entry)
    for role in (role for role in roles if role != "real"):
        _adjust([entry[f"vs_{role}"] for entry in table])
    return table


def _training_rows(cell: Cell, step: StepOf) -> int:
    trains = [s for s in cell.plan if s.verb == "train"]
    return sum(step(cell, name).made_by["rows"] for s in trains for name in s.reads)


def _human_seconds(cell: Cell, step: StepOf) -> float | None:
    """The ledger: seconds of all distinct annotations in the arm's lineage; None where one's are unknown."""
    ledger: dict[str, float | None] = {}
    for planned in cell.plan:
        if planned.verb in ("load", "collect"):
            rows = step(cell, planned.name).rows()
            ledger |= {row["annotation_id"]: row.get("seconds") for row in rows if "annotation_id" in row}
    if any(seconds is None for seconds in ledger.values()):
        return None
    return float(sum(seconds for seconds in ledger.values() if seconds is not None))


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean, or None where a value is unknown: a ledger with holes is no price."""
    return None if None in values else mean(values)


def _compute_seconds(cell: Cell, step: StepOf) -> float:
    """Wall seconds of the steps that made the arm's model: sampling and ranking included, the test not."""
    return float(sum(step(cell, name).measured.get("wall_seconds", 0.0) for name in _behind_model(cell)))


def _kl(cell: Cell, step: StepOf) -> float | None:
    """How far the policy is from the model that it started from, in nats a text; None where nobody measured.

    Of a policy that samples often (best of n) the bound that its generator states.
    """
    for planned in reversed(cell.plan):
        if planned.verb == "sample":
            generator = planned.spec.arguments().get("generator")
            bound = getattr(generator, "kl", None)
            if bound is not None:
                return float(bound)
        if planned.verb == "train":
            last = step(cell, planned.name).rows()[-1:]
            kl = last[0].get("kl") if last else None
            return None if kl is None else float(kl)
    return None


def _behind_model(cell: Cell) -> set[str]:
    """Names of the steps that made the arm's model; none where the model is used as it came."""
    made_model: set[str] = set()
    for planned in reversed(cell.plan):
        if planned.verb == "train" or planned.name in made_model:
            made_model |= {planned.name, *planned.inputs}
    return made_model


def _counts(cells: Sequence[Cell], step: StepOf, target: str, left_out: int) -> dict[str, int]:
    ungraded = sum(row["grade"] is None for cell in cells for row in step(cell, target).rows())
    return {
        "test prompts left out of every arm, because an arm's answer could not be graded": left_out,
        "answers to test prompts that could not be graded, over all arms and seeds": ungraded,
    }


def learning_curves(
    comparison: Comparison, cells: Sequence[Cell], step: StepOf
) -> dict[str, list[list[dict[str, Any]]]]:
    """Logs of the arms whose training followed a reward, the numbers that are drawn: arm -> rows per seed."""
    found = {}
    for arm in comparison.arms:
        logs = [
            slim(step(cell, trained[-1]).rows())
            for cell in cells
            if cell.arm == arm.name and (trained := [s.name for s in cell.plan if s.verb == "train"])
        ]
        if logs and all(logs):
            found[arm.name] = logs
    return found


def pick_table(comparison: Comparison, cells: Sequence[Cell], step: StepOf) -> list[dict[str, Any]]:
    """How good every ranker's pick is on the same refinements, between a coin and the best there was."""
    table = []
    graded = {
        c.seed: list(step(c, comparison.graded_step).rows()) for c in cells if c.arm == comparison.graded_step
    }
    for ranker in comparison.picks:
        own = [cell for cell in cells if cell.arm == ranker]
        table.append(
            {
                "ranker": ranker,
                **_pick_row([(graded[c.seed], step(c, comparison.picks_step).rows()) for c in own]),
            }
        )
    return table


def _pick_row(seeds: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> dict[str, Any]:
    """One ranker's line: its picks' grade, and how they were made, over all rows of all seeds.

    A row that cannot be judged at one seed is left out at every seed, so that all columns rest on the same
    rows; ``left_out`` counts them.
    """
    picks = [[_pick(*each) for each in zip(graded, chosen, strict=True)] for graded, chosen in seeds]
    shortest = min(map(len, picks), default=0)
    table = [row for i in range(shortest) if None not in (row := [own[i] for own in picks])]
    kept = [pick for row in table for pick in row if pick]
    left_out = sum(map(len, picks)) - len(kept)
    if not kept:
        return {"grade": None, "reason": "no row was both chosen and graded", "left_out": left_out}
    grade, coin, ceiling = (_average(kept, name) for name in ("grade", "chance", "best"))
    grades = [[pick["grade"] for pick in row if pick] for row in table]
    return {
        **_shown(mean_interval(grades, within=(0.0, 1.0)), "grade"),
        # Candidates that all have one grade leave rounding between coin and ceiling, and no headroom.
        "headroom": (grade - coin) / (ceiling - coin) if ceiling - coin > 1e-9 else None,
        "tau": mean([pick["tau"] for pick in kept]),
        "longest": _average(kept, "longest"),
        "unchanged": _average(kept, "unchanged"),
        "ties": sum(pick["is_tied"] for pick in kept),
        **({"left_out": left_out} if left_out else {}),
    }


def _average(picks: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([pick[name] for pick in picks]))


def _pick(truth: dict[str, Any], row: dict[str, Any]) -> dict[str, Any] | None:
    """What one pick was worth; None where nothing was picked, or a candidate could not be graded."""
    grades, texts, picked = truth["grades"], row[row["candidates"]], row["picked"]
    if picked is None or None in grades:
        return None
    # A blank candidate has no score: it ranks below all others, and level with another blank.
    below = min(score for score in row["scores"] if score is not None) - 1
    return {
        "grade": grades[picked],
        "chance": sum(grades) / len(grades),
        "best": max(grades),
        "tau": kendall_tau_b([below if score is None else score for score in row["scores"]], grades),
        "longest": len(texts[picked]) == max(map(len, texts)),
        "unchanged": row["completion"].strip() == row["output"].strip(),
        "is_tied": row["is_tied"],
    }


def examples(
    comparison: Comparison, cells: Sequence[Cell], picks: Sequence[Cell], step: StepOf
) -> list[dict[str, Any]]:
    """Rows of the first seed to read: what was said, rewritten, and chosen by every ranker of the picks."""
    first = [cell for cell in picks if cell.seed == comparison.seeds[0]]
    rankers = {
        cell.arm: list(step(cell, comparison.picks_step).rows()[:EXAMPLES])
        for cell in first
        if cell.arm in comparison.picks
    }
    if not rankers:
        return []
    graded = next(
        list(step(c, comparison.graded_step).rows()[:EXAMPLES])
        for c in first
        if c.arm == comparison.graded_step
    )
    return [
        {
            "prompt": messages_text(rows[0]["prompt"]),
            "output": rows[0]["output"],
            "critique": rows[0]["critique"],
            "refinements": rows[0]["refinements"],
            "grades": truth["grades"],
            "scores": {name: row["scores"] for name, row in zip(rankers, rows, strict=True)},
            "picked": {name: row["picked"] for name, row in zip(rankers, rows, strict=True)},
        }
        for truth, *rows in zip(graded, *rankers.values(), strict=True)
    ]
