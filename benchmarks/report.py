"""How long statistics and page take for 200 arms and 10,000 graded rows, and how fast the page opens.

    python benchmarks/report.py [--arms 200] [--prompts 17] [--seeds 3] [--write] [--page FILE]
    python benchmarks/report.py --pictures runs/nano/result.json     # only draws docs/pictures/report-*.png

The rows are drawn: every arm has an effect of its own, prompts and seeds have theirs; answers are two
sentences, and all arms but the base count as trained, so that the variance between seeds is pooled over them.
Printed: seconds of the tables from stored rows (statistics of the planned pairs, and of all pairs of the 40
highest arms), seconds of the page, its size, and the seconds until Chromium has it open (load event) and
has painted it, the median of five fresh tabs. Beside it the page of a quickstart, where its result is given
(--run). Bounds: statistics 60 s, opening 2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # benchmarks/rankers.py must not stand in for the package

from ilf import findings, report  # noqa: E402
from ilf.compare import Arm, Cell, Comparison  # noqa: E402
from ilf.config import Spec  # noqa: E402
from ilf.plan import PlannedStep  # noqa: E402
from ilf.store import Step  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "report.json"
BOUNDS = {"statistics_seconds": 60.0, "open_seconds": 2.0}
OPENINGS = 5
#: (width, height, colour scheme) of the pictures in the docs.
PICTURES = ((400, 1700, "light"), (1280, 1900, "light"), (1920, 1900, "dark"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=17)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="keep the page here")
    parser.add_argument("--run", type=Path, help="result.json of a quickstart, measured beside it")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    parser.add_argument(
        "--pictures", type=Path, metavar="RESULT", help="draw the pictures of the docs from it"
    )
    given = parser.parse_args()
    if given.pictures:
        pictures(json.loads(given.pictures.read_text(encoding="utf-8")))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = given.page or Path(folder) / "report.html"
        found = {"drawn": drawn(given.arms, given.prompts, given.seeds, Path(folder), path)}
        if given.run:
            result = json.loads(given.run.read_text(encoding="utf-8"))
            found["quickstart"] = {
                **page(result, Path(folder) / "quickstart.html"),
                "arms": len(result["arms"]),
            }
    print(json.dumps(found, indent=1))
    if given.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    slow = [
        f"{k}: {found['drawn'][k]} s, not below {most} s"
        for k, most in BOUNDS.items()
        if found["drawn"][k] >= most
    ]
    print("\n".join(slow), file=sys.stderr)
    return bool(slow)


def drawn(n_arms: int, n_prompts: int, n_seeds: int, folder: Path, path: Path) -> dict[str, Any]:
    """Measures of the drawn comparison."""
    names = ["base", "no_feedback", *(f"arm_{i:03d}" for i in range(n_arms - 2))]
    arms = [Arm("base", is_control=True), Arm("no_feedback", control="base", is_control=True)]
    arms += [Arm(name, control="no_feedback") for name in names[2:]]
    controls: dict[str, str | None] = {"base": "base", "no_feedback": "no_feedback", "oracle": None}
    comparison = Comparison("evaluate", tuple(arms), tuple(range(n_seeds)), controls=controls)
    made: dict[str, Step] = {}
    cells = [
        _cell(name, seed, _rows(i, seed, n_prompts), folder, made)
        for i, name in enumerate(names)
        for seed in range(n_seeds)
    ]
    seconds, tables = _timed(
        lambda: findings.tables(comparison, cells, lambda cell, name: made[cell.keys[name]])
    )
    result = {"recipe": "drawn", "command": "python benchmarks/report.py", "p_correction": "Holm", **tables}
    return {
        "arms": n_arms,
        "graded_rows": n_arms * n_seeds * n_prompts,
        "statistics_seconds": seconds,
        **page(result, path),
    }


def page(result: dict[str, Any], path: Path) -> dict[str, float]:
    """Seconds to make the page, its megabytes, and the seconds in which it opens."""
    seconds, _ = _timed(lambda: report.write(result, path))
    return {"page_seconds": seconds, "megabytes": round(path.stat().st_size / 1e6, 2), **_opened(path)}


def _opened(path: Path) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    loads, paints = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for _ in range(OPENINGS):
            tab = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            begin = time.perf_counter()
            tab.goto(path.as_uri(), wait_until="load")
            tab.evaluate(
                "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            loads.append(time.perf_counter() - begin)
            paints.append(
                tab.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
            )
            tab.context.close()
        browser.close()
    known = [paint / 1000 for paint in paints if paint]
    return {
        "open_seconds": round(statistics.median(loads), 2),
        "first_paint_seconds": round(statistics.median(known), 2) if known else float("nan"),
    }


def pictures(result: dict[str, Any]) -> None:
    """The page of a result at three widths: a phone, a laptop, and a wide screen in the dark."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "report.html"
        report.write(result, path)
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for width, height, scheme in PICTURES:
            size = {"width": width, "height": height}
            tab = browser.new_context(viewport=size, color_scheme=scheme).new_page()
            tab.goto(path.as_uri())
            tab.screenshot(path=ROOT / "docs" / "pictures" / f"report-{width}.png")
            tab.context.close()
        browser.close()


def _chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def _rows(arm: int, seed: int, n_prompts: int) -> list[dict[str, Any]]:
    hard = np.random.default_rng(0).normal(0, 0.15, n_prompts)
    rng = np.random.default_rng([arm, seed])
    effect = 0.4 + 0.3 * np.random.default_rng([arm, 99]).random() + rng.normal(0, 0.02)
    grades = np.clip(effect + hard + rng.normal(0, 0.1, n_prompts), 0, 1)
    return [
        {
            "prompt": f"Post {i}: a flat, a walk, and who pays for the hut.",
            "graded": "outputs",
            "outputs": [f"Answer of arm {arm} to post {i}. They pay half each, and go in May."],
            "grade": float(grade),
            "grades": [float(grade)],
            "parts": {"recall": float(grade) ** 0.5, "precision": float(grade)},
        }
        for i, grade in enumerate(grades)
    ]


def _cell(arm: str, seed: int, rows: Sequence[dict[str, Any]], folder: Path, made: dict[str, Step]) -> Cell:
    """The finished steps of an arm at a seed: its training, answers, and their grades."""
    names = ("answer", "evaluate") if arm == "base" else ("train", "answer", "evaluate")
    keys = {name: f"{arm}-{seed}-{name}" for name in names}
    for name, key in keys.items():
        step = Step(folder / key)
        step.folder.mkdir()
        step.write_rows(iter(rows if name == "evaluate" else []), 1000, lambda n: None)
        step.measure(0.0, 0.0)
        step.finish({})
        made[key] = step
    model = {} if arm == "base" else {"model": "steps.train"}
    plan = [
        PlannedStep("train", "train", (), Spec(dict, "train", {})),
        PlannedStep("answer", "sample", (), Spec(dict, "answer", model)),
        PlannedStep("evaluate", "evaluate", ("answer",), Spec(dict, "evaluate", {})),
    ]
    return Cell(arm, seed, [step for step in plan if step.name in names], keys)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = work()
    return round(time.perf_counter() - begin, 2), found


if __name__ == "__main__":
    sys.exit(main())
