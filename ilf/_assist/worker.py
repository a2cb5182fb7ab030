"""One generator that many people ask: one thread, a bounded queue, an answer or a refusal in bounded time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

Answer = Callable[[str, str], str]


class Full(Exception):
    """More requests are waiting than the queue holds."""


class TooSlow(Exception):
    """The answer did not come in time."""


class Worker:
    """Answers (item, critique) one after the other in a thread of its own.

    A request that fails raises for its own caller alone; one that nobody waits for any more is not begun.
    """

    def __init__(self, answer: Answer, *, waiting: int, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self._queue: queue.Queue[tuple[Future[str], str, str]] = queue.Queue(maxsize=waiting)
        # A daemon, so that a generator that is at work does not keep the program from ending.
        threading.Thread(target=self._work, name="assist-generator", daemon=True).start()

    def ask(self, item: str, critique: str) -> str:
        """The answer; raises Full, TooSlow, or what went wrong in making it."""
        future: Future[str] = Future()
        try:
            self._queue.put_nowait((future, item, critique))
        except queue.Full:
            raise Full from None
        try:
            return future.result(timeout=self._seconds)
        except TimeoutError:
            if future.done():  # the generator itself raised a TimeoutError
                raise
            future.cancel()
            raise TooSlow from None

    def _work(self) -> None:
        while True:
            future, item, critique = self._queue.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._answer(item, critique))
            except BaseException as error:  # noqa: BLE001 - handed to the one who asked; the worker lives on
                future.set_exception(error)
