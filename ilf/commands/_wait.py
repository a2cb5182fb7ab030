"""Staying until people have answered: the same work again and again, with a bar between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ilf.errors import Unreachable, Waiting

if TYPE_CHECKING:
    from ilf.progress import Progress

T = TypeVar("T")
#: Seconds between two looks at what people have said.
POLL_SECONDS = 5.0


def until_answered(work: Callable[[Progress], T], progress: Progress, wait: bool) -> T:
    """Does the work; with ``wait`` it is done again every few seconds for as long as it raises Waiting.

    A server that does not answer is waited for, too, once people have begun to be waited for.
    """
    bar = _Bar(progress)
    is_waiting = False
    try:
        while True:
            try:
                return work(progress)
            except Waiting as waiting:
                if not wait:
                    raise
                is_waiting = True
                bar.show(str(waiting), waiting.done, waiting.total)
            except Unreachable as error:
                if not (wait and is_waiting):
                    raise
                bar.show(f"{error} Trying again.", None, None)
            time.sleep(POLL_SECONDS)
    finally:
        bar.close()


class _Bar:
    """How far people are: a bar on a terminal, a line for each change elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: Any = None
        self._told = ""

    def show(self, text: str, done: int | None, total: int | None) -> None:
        if text != self._told and (self._bar is None or total is None):
            self._progress.say(text)
        self._told = text
        if not self._progress.is_terminal or total is None:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc="people", unit=" answered", leave=False, dynamic_ncols=True)
        self._bar.total = total
        self._bar.n = done or 0
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
