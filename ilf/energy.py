"""What a run's computing took in energy, by codecarbon where it is installed; otherwise said to be unknown.

Joules are the machine's while the run was at work: other work on the machine is in them, and idle power too.
Without a power meter in the processor they are an estimate from its load, and ``method`` says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ilf.files import write_whole

FILE = "energy.json"
MISSING = "not measured: codecarbon is not installed (pip install 'ilf[energy]')"
#: Seconds between two readings of the power.
_READ_EVERY = 5
#: codecarbon's name of how it knows a processor's power -> what it is.
_METHODS = {
    "cpu_load": "estimated from the processor's load and its nominal power",
    "constant": "estimated from the processor's nominal power, constant",
    "intel_rapl": "measured by the processor's own meter (RAPL)",
    "intel_power_gadget": "measured by Intel's power gadget",
}


@contextlib.contextmanager
def metered(run: Path) -> Iterator[None]:
    """Around the work of a run: adds what it took to the run's ``energy.json``; nothing without codecarbon.

    Nothing leaves the machine: codecarbon's offline tracker, without a file of its own.
    """
    tracker = _tracker()
    if tracker is None:
        yield
        return
    with _unheard():
        tracker.start()
    started = time.monotonic()
    try:
        yield
    finally:
        with _unheard():
            tracker.stop()
        # codecarbon swallows its own errors; then there is nothing to keep.
        if getattr(tracker, "final_emissions_data", None) is not None:
            session = _session(tracker, time.monotonic() - started)
            write_whole(run / FILE, json.dumps({"sessions": [*_sessions(run), session]}, indent=1) + "\n")


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Warnings of codecarbon's own dependencies are no business of whoever compares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def energy(run: Path) -> dict[str, Any]:
    """All sittings of a run together: ``joules``, of which ``processor``, ``memory``, ``gpu``; ``method``.

    ``{"joules": None, "reason"}`` where nothing was measured.
    """
    sessions = _sessions(run)
    if not sessions:
        known = importlib.util.find_spec("codecarbon") is not None
        return {"joules": None, "reason": "no sitting of this run was metered" if known else MISSING}
    parts = ("joules", "processor", "memory", "gpu", "seconds")
    return {
        **{part: float(sum(session[part] for session in sessions)) for part in parts},
        "method": "; ".join(dict.fromkeys(session["method"] for session in sessions)),
    }


def _sessions(run: Path) -> list[dict[str, Any]]:
    try:
        kept = json.loads((run / FILE).read_text(encoding="utf-8"))["sessions"]
        return [session for session in kept if isinstance(session["joules"], float)]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # clocks and joules are outside of every promise: a torn file loses them alone


def _tracker() -> Any:
    if importlib.util.find_spec("codecarbon") is None:
        return None
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # its import sets another
    with _unheard():
        # The country counts for grams of carbon alone, which are not told: joules do not depend on it.
        return OfflineEmissionsTracker(
            country_iso_code="FRA",
            save_to_file=False,
            allow_multiple_runs=True,
            log_level="critical",
            measure_power_secs=_READ_EVERY,
        )


def _session(tracker: Any, seconds: float) -> dict[str, Any]:
    found = tracker.final_emissions_data
    joules = {
        part: 3.6e6 * float(getattr(found, key))
        for part, key in (
            ("joules", "energy_consumed"),
            ("processor", "cpu_energy"),
            ("memory", "ram_energy"),
            ("gpu", "gpu_energy"),
        )
    }
    return {**joules, "seconds": seconds, "method": _method(tracker, found)}


def _method(tracker: Any, found: Any) -> str:
    modes = [getattr(part, "_mode", None) for part in getattr(tracker, "_hardware", [])]
    mode = next((mode for mode in modes if mode), "")
    how = _METHODS.get(mode, f"by codecarbon's method '{mode or 'unknown'}'")
    return (
        f"codecarbon {found.codecarbon_version}: {found.cpu_model or 'unknown processor'}, {how}; memory by "
        "its size; the whole machine, other work on it included"
    )
