"""What a person sees on stderr while steps run: bars on a terminal, plain lines when piped, or nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


class Progress:
    """Bars with rate and time left on a terminal, one line per step elsewhere."""

    def __init__(self, *, quiet: bool = False, lines: bool = True) -> None:
        self.quiet = quiet
        self.lines = lines and not quiet
        self.is_terminal = self.lines and sys.stderr.isatty()
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        """One line of chatter."""
        if not self.quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def reused(self, step: str, rows: int) -> None:
        """A step that was found made; told once, however often it is looked at while people answer."""
        if self.lines and step not in self._told:
            self._told.add(step)
            self.say(f"{step:<12} {rows:>7} rows   reused")

    @contextlib.contextmanager
    def bar(
        self, step: str, total: int | None, done: int = 0, unit: str = "rows"
    ) -> Iterator[Callable[[int], None]]:
        """Yields ``tick(n)``, to be called when n more rows are made."""
        started, count = time.perf_counter(), done
        bar = None
        if self.is_terminal:
            from tqdm import tqdm

            bar = tqdm(
                total=total,
                initial=done,
                desc=f"{step:<12}",
                unit=f" {unit}",
                leave=False,
                dynamic_ncols=True,
            )

        def tick(n: int) -> None:
            nonlocal count
            before, count = count, count + n
            if bar is not None:
                bar.update(n)
            elif self.lines and total and unit == "steps" and before * 10 // total < count * 10 // total < 10:
                self.say(f"{step:<12} {count:>7} of {total} {unit}   {time.perf_counter() - started:.0f} s")

        try:
            yield tick
        finally:
            if bar is not None:
                bar.close()
        # Reached only when the step went through: an interrupted one says nothing about having finished.
        self._told.add(step)
        if self.lines:
            resumed = f", resumed at {done}" if done else ""
            self.say(f"{step:<12} {count:>7} {unit}   {time.perf_counter() - started:.1f} s{resumed}")
