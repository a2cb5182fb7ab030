"""What the curves are made of: columns aligned over seeds, the turn of the grade, and the paths that are drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from training_logs import a_log

from ilf import curves
from ilf._report.axis import Axis
from ilf._report.by_distance import distance_chart
from ilf._report.by_step import step_chart
from ilf._report.chart import BOX, POINTS, SPOTS, Chart, axis, figure, path
from ilf._report.series import series, shared, smoothed
from ilf._report.turn import Change, Turn, sentence, turn

SEEDS = [a_log(seed) for seed in range(5)]


# --- columns


def test_seeds_are_aligned_by_step_and_the_mean_waits_for_all() -> None:
    logs = [
        [{"step": 1, "x": 1.0}, {"step": 2, "x": 2.0}, {"step": 3, "x": None}],
        [{"step": 2, "x": 4.0}, {"step": 2, "x": 6.0}, {"step": 1, "x": 3}, {"x": 9.0}],
        [{"step": 1, "y": 5.0}],
    ]
    one = series(logs, "x")
    assert one.seeds == (0, 1)  # the third has no such column
    assert one.steps.tolist() == [1, 2]
    assert one.values.tolist() == [[1, 2], [3, 6]]  # of two rows of one step the later
    assert one.mean.tolist() == [2, 4]
    late = series([[{"step": 1, "x": 1.0}, {"step": 5, "x": 8.0}], [{"step": 1, "x": 3.0}]], "x")
    assert late.mean[0] == 2
    assert np.isnan(late.mean[1])


@pytest.mark.parametrize(
    "logs", [[], [[]], [[{"step": 1}]], [[{"step": 1, "x": "a"}, {"step": 2, "x": True}]]]
)
def test_a_column_that_nobody_has_is_empty(logs: Any) -> None:
    one = series(logs, "x")
    assert (one.seeds, one.mean.size) == ((), 0)
    assert curves.section({"a": logs})["groups"] == []
    assert turn(logs) is None


def test_thinning_takes_means_and_keeps_what_is_unknown() -> None:
    log = [{"step": i, "x": float(i)} for i in range(1, 11)]
    log[8]["x"] = log[9]["x"] = None
    other = [{"step": i, "x": 0.0} for i in range(1, 11)]
    thin = series([log, other], "x").thinned(5)
    assert thin.steps.tolist() == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert thin.values[0][:4].tolist() == [1.5, 3.5, 5.5, 7.5]
    assert np.isnan(thin.values[0][4])
    assert thin.values[1].tolist() == [0.0] * 5
    whole = series([other], "x")
    assert whole.thinned(10) is whole


def test_shared_cells_are_known_in_all_columns_or_in_none() -> None:
    log = [{"step": 1, "a": 1.0, "b": 2.0}, {"step": 2, "a": 3.0}, {"step": 3, "a": 5.0, "b": 6.0}]
    other = [{"step": 1, "a": 7.0}, {"step": 3, "b": 9.0}]
    a, b = shared([log, other, [{"step": 1, "a": 1.0}]], "a", "b")
    assert a.steps.tolist() == b.steps.tolist() == [1, 3]
    assert a.seeds == (0, 1)
    np.testing.assert_array_equal(a.values, [[1, 5], [np.nan, np.nan]])
    np.testing.assert_array_equal(b.values, [[2, 6], [np.nan, np.nan]])


def test_smoothing_is_a_mean_over_the_points_there_are() -> None:
    values = np.array([1.0, 2.0, 6.0, 4.0])
    assert smoothed(values, 1).tolist() == values.tolist()
    assert smoothed(values, 3).tolist() == [1.5, 3.0, 4.0, 5.0]
    assert smoothed(np.stack([values, -values]), 3)[1].tolist() == [-1.5, -3.0, -4.0, -5.0]


# --- where the grade turned


def test_over_optimisation_is_found_and_said() -> None:
    found = turn(SEEDS)
    assert found is not None
    assert (found.kind, found.seeds, found.window) == ("over", 5, 5)
    assert 8 <= found.peak_step <= 14
    assert found.last_step == 40
    # From the highest point to the last three steps: .007 a step, as the logs were made.
    assert found.grade_change.estimate == pytest.approx(-0.007 * (39 - 12), abs=0.02)
    assert found.grade_change.high is not None
    assert found.grade_change.low is not None
    assert found.grade_change.low < found.grade_change.estimate < found.grade_change.high < 0
    assert found.reward_change.estimate == pytest.approx((39 - found.peak_step) / 40, abs=0.06)
    said = sentence("ppo", SEEDS)
    assert said == (
        f"ppo: the true grade was highest at step {found.peak_step:g} of 40 ({found.grade_peak:.3f}, mean of 5 seeds) "
        f"and fell after it ({found.grade_change.text} by the end), while the reward rose on "
        f"({found.reward_change.text}): the reward was over-optimised."
    )


def test_few_seeds_claim_less() -> None:
    said = sentence("ppo", SEEDS[:1])
    assert "one seed" in said
    assert said.endswith("it looks over-optimised, but how far another seed would differ is unknown.")
    assert "mean of 2 seeds" in sentence("ppo", SEEDS[:2])
    assert sentence("ppo", SEEDS[:2]).endswith("unknown.")
    assert sentence("ppo", SEEDS[:3]).endswith("the reward was over-optimised.")


def test_a_fall_without_a_rising_reward_is_no_over_optimisation() -> None:
    logs = [[{**row, "reward": row["reward"] - row["step"] / 20} for row in log] for log in SEEDS]
    found = turn(logs)
    assert found is not None
    assert found.kind == "fell"
    assert "not shown to be over-optimisation" in sentence("ppo", logs)


def test_a_grade_that_holds_or_still_rises_is_not_said_to_turn() -> None:
    flat = [a_log(seed, turns_at=None) for seed in range(5)]
    found = turn(flat)
    assert found is not None
    assert found.kind == "held"
    assert "no fall after it is seen" in sentence("ppo", flat)
    rising = [[{**row, "grade": row["step"] / 100} for row in log] for log in SEEDS]
    found = turn(rising)
    assert found is not None
    assert (found.kind, found.peak_step) == ("end", 40)
    assert "highest at the last step, 40" in sentence("ppo", rising)


@pytest.mark.parametrize(("seeds", "steps"), [(1, 40), (3, 12), (5, 40), (5, 200)])
def test_noise_alone_is_seldom_called_a_turn(seeds: int, steps: int) -> None:
    """A flat grade: its highest point lies above its last one by construction, and that is no fall."""
    wrong = 0
    for trial in range(100):
        draw = np.random.default_rng([trial, seeds, steps])
        logs = [
            [
                {"step": t, "grade": float(0.5 + draw.normal(0, 0.04)), "reward": t / steps}
                for t in range(1, steps + 1)
            ]
            for _ in range(seeds)
        ]
        found = turn(logs)
        assert found is not None
        wrong += found.kind in ("over", "fell")
    assert wrong <= 10  # about 2 to 5 of 100


def test_each_seed_is_measured_from_the_peak_of_the_others() -> None:
    """One wild point per seed, each at another step: nobody else sees it there, so it makes no fall."""
    logs = [
        [
            {"step": t, "grade": 0.9 if t == 2 + seed else 0.5 + t / 1000, "reward": t / 10}
            for t in range(1, 11)
        ]
        for seed in range(3)
    ]
    found = turn(logs)
    assert found is not None
    assert found.grade_change.estimate > -0.01
    assert found.kind == "held"


def test_peaks_that_lie_apart_do_not_hide_a_rising_reward() -> None:
    """The reward is measured from one step for all seeds: its rise does not depend on whose peak is meant."""
    logs = [a_log(seed, noise=0.002) for seed in range(3)]
    for log, at in zip(logs, (8, 16, 24), strict=True):
        for row in log:
            row["grade"] = 0.7 - 0.002 * abs(row["step"] - at)
    found = turn(logs)
    assert found is not None
    assert found.reward_change.low is not None
    assert found.reward_change.low > 0.5


@pytest.mark.parametrize(
    ("drop", "why"),
    [("grade", "no true grade in its log"), ("reward", "no reward in its log"), (None, "too few steps")],
)
def test_what_cannot_be_said_has_its_reason(drop: str | None, why: str) -> None:
    rows = a_log(steps=40 if drop else 3)
    log = [{key: value for key, value in row.items() if key != drop} for row in rows]
    assert turn([log]) is None
    assert why in sentence("ppo", [log])


@pytest.mark.parametrize(
    ("grade", "reward", "kind"),
    [
        (Change(-0.2, -0.3, -0.1), Change(0.2, 0.1, 0.3), "over"),
        (Change(-0.2, -0.3, -0.1), Change(0.2, -0.1, 0.3), "fell"),
        (Change(-0.2, -0.3, -0.1), Change(0.0, None, None), "fell"),
        (Change(-0.2, -0.3, 0.0), Change(0.2, 0.1, 0.3), "held"),
        (Change(0.0, None, None), Change(0.2, 0.1, 0.3), "held"),
    ],
)
def test_the_kind_of_a_turn_follows_its_intervals(grade: Change, reward: Change, kind: str) -> None:
    assert Turn(3, 1, 5, 9, 0, 0, 0, 0, 0, 0, grade, reward).kind == kind


# --- paths


def points(drawn: str) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", drawn)]


def test_a_path_goes_through_its_points_and_leaves_gaps() -> None:
    scale = Axis(0.0, 10.0, 5.0)
    xs, ys = np.arange(4.0), np.array([0.0, 10.0, np.nan, 5.0])
    assert path(xs, ys, (scale, scale)) == "M0.0 1000.0h0L100.0 0.0M300.0 500.0h0"
    assert path(xs[:0], ys[:0], (scale, scale)) == ""


def every_chart(arms: Any) -> list[Chart]:
    made = curves.section(arms)
    return [*(chart for group in made["groups"] for chart in group["charts"]), *made["others"]]


def test_a_chart_has_a_thin_line_for_each_seed_and_a_thick_mean_on_top() -> None:
    chart = step_chart("grade", "Grade", "", {"a": SEEDS, "b": SEEDS[:1]}, {"a": 10.0})
    assert chart is not None
    assert [(line.arm, line.is_mean) for line in chart.lines] == [(0, False)] * 5 + [(0, True), (1, True)]
    mean = [BOX * (1 - chart.y.share(value)) for value in series(SEEDS, "grade").mean]
    drawn = points(chart.lines[5].path)
    assert [y for _, y in drawn] == pytest.approx(mean, abs=0.06)
    assert [x for x, _ in drawn] == pytest.approx(
        [BOX * chart.x.share(step) for step in range(1, 41)], abs=0.06
    )
    assert chart.turns == [(f"M{BOX * chart.x.share(10):.1f} 0V1000", 0)]


def test_all_step_charts_have_one_scale_of_steps() -> None:
    """So that one sees a reward rise at the very steps at which the grade falls."""
    logs = [[row if row["step"] > 20 else {**row, "grade": None} for row in log] for log in SEEDS]
    charts = [chart for chart in every_chart({"a": logs}) if chart.across == "step"]
    assert {(chart.x.low, chart.x.high) for chart in charts} == {(charts[0].x.low, charts[0].x.high)}
    assert charts[0].title == "Reward"
    assert charts[1].title == "True grade"
    # A grade that begins at step 21 begins in the middle.
    assert points(charts[1].lines[0].path)[0][0] > 400


def test_everything_drawn_stays_inside_its_box() -> None:
    for chart in every_chart({"a": SEEDS, "b": [a_log(9, steps=7)]}):
        for x, y in (p for line in chart.lines for p in points(line.path)):
            assert 0 <= x <= BOX, chart.title
            assert 0 <= y <= BOX, chart.title


def test_the_distance_is_the_root_of_kl_and_below_zero_is_zero() -> None:
    log = [
        {"step": t, "kl": kl, "grade": 0.1 * t, "reward": 1.0}
        for t, kl in enumerate((-0.5, 1.0, 4.0, 9.0), 1)
    ]
    chart = distance_chart("grade", "Grade", "", {"a": [log]}, {"a": 3.0})
    assert chart is not None
    xs = [x for x, _ in points(chart.lines[0].path)]
    assert xs == pytest.approx([BOX * chart.x.share(value) for value in (0, 1, 2, 3)], abs=0.06)
    assert [dot.kind for dot in chart.dots] == ["step", "step", "peak", "last"]
    assert chart.dots[2].tip == "a, step 3: 0.300 at a square root of KL of 2"
    assert "1 estimates of KL below 0 stand at 0" in curves.section({"a": [log]})["groups"][1]["about"]
    assert distance_chart("grade", "", "", {"a": [[{"step": 1, "grade": 1.0}]]}, {}) is None


def test_the_thick_line_over_distance_joins_means_of_both() -> None:
    logs = [
        [{"step": 1, "kl": 1.0, "grade": 0.2}, {"step": 2, "kl": 4.0, "grade": 0.4}],
        [{"step": 1, "kl": 9.0, "grade": 0.4}, {"step": 2, "kl": 16.0, "grade": 0.8}],
    ]
    chart = distance_chart("grade", "", "", {"a": logs}, {})
    assert chart is not None
    (mean,) = [line for line in chart.lines if line.is_mean]
    wanted = [(BOX * chart.x.share(x), BOX * (1 - chart.y.share(y))) for x, y in ((2.0, 0.3), (3.0, 0.6))]
    assert np.array(points(mean.path)) == pytest.approx(np.array(wanted), abs=0.06)


def test_pointing_at_any_step_tells_every_arm_there() -> None:
    chart = step_chart("grade", "Grade", "", {"a": SEEDS, "b": SEEDS[:1]}, {})
    assert chart is not None
    assert len(chart.spots) == 40
    assert sum(spot.width for spot in chart.spots) == pytest.approx(BOX)
    values = [log[9]["grade"] for log in SEEDS]
    assert chart.spots[9].tip == (
        f"step 10\na: {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}, 5 seeds)\nb: {values[0]:.3f}"
    )


def test_a_long_log_stays_a_small_picture() -> None:
    log = [{"step": i, "loss": 1 / i, "kl": 1 / i, "reward": 1.0} for i in range(1, 20_001)]
    for chart in every_chart({"a": [log]}):
        assert sum(len(points(line.path)) for line in chart.lines) <= POINTS
        assert len(chart.spots) <= SPOTS
        assert len(chart.dots) <= SPOTS + 1


@pytest.mark.parametrize(
    ("value", "shown"), [(0.6434, "0.643"), (40.0, "40"), (0.0, "0"), (1.5e-5, "1.5e-05"), (-2.25, "-2.250")]
)
def test_numbers_of_a_chart(value: float, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    "values", [(1.0,), (0.0,), (0.05, 0.05), (1e-5, 9e-6), (-3.0, -3.0), (0.0, 1.0), (12.0, 60.0)]
)
def test_a_scale_fits_its_column(values: tuple[float, ...]) -> None:
    scale = axis(np.array([*values, np.nan]))
    labels = [label for _, label in scale.marks]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    for value in values:
        assert 0 <= scale.share(value) <= 1
    if 0 <= min(values) <= max(values) <= 1:
        assert all(0 <= float(label) <= 1 for label in labels)
    if max(values) < 1e-4 and min(values) > 0:
        assert scale.share(max(values)) - scale.share(min(values)) > 0.2  # a small column is not a flat line


def test_a_chart_is_told_in_words() -> None:
    log = [{"step": t, "reward": value} for t, value in enumerate((0.5, 2.25, 1.0), 1)]
    (chart,) = every_chart({"ppo": [log]})
    assert chart.label == "Reward by step. ppo: 0.500 at 1, highest 2.250 at 2, last 1 at 3"


# --- what others take from it


def test_slim_keeps_the_plotted_numbers_and_nothing_else() -> None:
    rows = curves.slim(a_log(steps=20))
    assert len(rows) == 20
    assert list(rows[0]) == ["step", *curves.CHARTS]
    assert all(isinstance(value, float) for row in rows for value in row.values())
    assert rows[3]["kl"] == 0.44
    assert curves.slim([{"step": 1, "reward": 1 / 3, "kl": 123456.789}]) == [
        {"step": 1.0, "reward": 0.333333, "kl": 123457.0}
    ]
    assert turn([rows]) is not None
    assert curves.slim([{"step": 1, "loss": 0.5}]) == []
    assert curves.slim([{"step": 1, "reward": 0.5}]) == []  # no policy, no distance: a reward model's log


def test_slim_numbers_draw_the_same_sentence() -> None:
    slimmed = [curves.slim(log) for log in SEEDS]
    assert sentence("ppo", slimmed) == sentence("ppo", SEEDS)


def test_the_numbers_are_those_of_the_page() -> None:
    (told,) = curves.numbers({"ppo": SEEDS})
    assert told["seeds"] == 5
    assert told["steps"] == list(map(float, range(1, 41)))
    assert told["means"]["kl"][0] == [1.0, pytest.approx(-0.04)]
    assert told["turn"]["kind"] == "over"
    assert told["sentence"] == sentence("ppo", SEEDS)
    (plain,) = curves.numbers({"sft": [[{"step": 1, "loss": 0.5}]]})
    assert (plain["turn"], plain["sentence"]) == (None, None)
