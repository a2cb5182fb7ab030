"""Many plans at once: steps that arms share are made once, by worker processes, as soon as they can be."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from ilf.errors import IlfError
from ilf.plan import PlannedStep, keys
from ilf.progress import Progress
from ilf.run import address_of, run_step
from ilf.store import Step


@dataclass(frozen=True)
class Node:
    """A step of one or more plans, and which nodes it needs: name of the step -> key of the node."""

    step: PlannedStep
    inputs: Mapping[str, str]


def graph(plans: Iterable[Sequence[PlannedStep]]) -> dict[str, Node]:
    """All plans as one graph, key -> node; steps with equal keys are one node."""
    nodes: dict[str, Node] = {}
    for plan in plans:
        key_of = keys(plan)
        for step in plan:
            inputs = {name: key_of[name] for name in step.inputs}
            nodes.setdefault(key_of[step.name], Node(step, inputs))
    return nodes


def run_graph(
    nodes: Mapping[str, Node],
    runs: Path,
    progress: Progress,
    *,
    workers: int = 2,
    wait_for_others: bool = True,
) -> dict[str, Step]:
    """Makes every node, reusing what is on disk; returns key -> finished step.

    Worker processes are started when the first step must be made. An error stops what is queued and is
    raised; everything finished stays.
    """
    made: dict[str, Step] = {}
    with progress.bar("compare", len(nodes), unit="steps") as tick:
        reuse = functools.partial(_reuse, nodes, made, runs, tick)
        reuse()
        if len(made) < len(nodes):
            _run_missing(nodes, made, runs, tick, reuse, workers, wait_for_others, progress.quiet)
    return made


def _reuse(nodes: Mapping[str, Node], made: dict[str, Step], runs: Path, tick: Callable[[int], None]) -> None:
    """Marks every node that is on disk; nodes come in an order in which inputs precede."""
    for key, folder in _ready(nodes, made, runs):
        if Step(folder).is_finished:
            made[key] = Step(folder)
            tick(1)


def _ready(nodes: Mapping[str, Node], made: Mapping[str, Step], runs: Path) -> Iterator[tuple[str, Path]]:
    """Every node that is not made and whose inputs are, with the folder it has or will have."""
    for key, node in nodes.items():
        if key not in made and all(k in made for k in node.inputs.values()):
            yield key, address_of(node.step, _inputs(node, made), runs).folder


def _inputs(node: Node, made: Mapping[str, Step]) -> dict[str, Step]:
    return {name: made[key] for name, key in node.inputs.items()}


def _run_missing(  # noqa: PLR0913 - one call, kept apart for its length
    nodes: Mapping[str, Node],
    made: dict[str, Step],
    runs: Path,
    tick: Callable[[int], None],
    reuse: Callable[[], None],
    workers: int,
    wait_for_others: bool,
    quiet: bool,
) -> None:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),)
    )
    running: dict[Future[Path], tuple[str, Path]] = {}
    try:
        while len(made) < len(nodes):
            for key, folder in _ready(nodes, made, runs):
                # Two nodes may turn out to be the same work: the second finds it made.
                if len(running) < workers and folder not in [busy for _, busy in running.values()]:
                    job = (nodes[key].step, _inputs(nodes[key], made), runs, wait_for_others, quiet)
                    running[pool.submit(_work, *job)] = (key, folder)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key, _ = running.pop(future)
                step = Step(future.result())
                tick(key not in made)  # it may have been found on disk meanwhile
                made[key] = step
            reuse()
    except BrokenProcessPool:
        raise IlfError(
            "A worker process died (killed, or out of memory). Run the same command again: finished steps "
            "are kept. With little memory add compare.workers=1."
        ) from None
    finally:
        for process in list((pool._processes or {}).values()):
            if len(made) < len(nodes):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _work(
    step: PlannedStep, made: Mapping[str, Step], runs: Path, wait_for_others: bool, quiet: bool
) -> Path:
    return run_step(step, made, runs, Progress(quiet=quiet, lines=False), wait=wait_for_others).folder


def _start_worker(parent: int) -> None:
    # Ctrl-C is the parent's to handle: it ends the workers, and finished steps stay.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """Ends this worker when its parent is gone, also by kill -9."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
