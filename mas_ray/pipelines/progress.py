"""How far a job is, on standard error: a bar in a terminal, a plain line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_PER_LINE = 5.0


@runtime_checkable
class Advance(Protocol):
    """Says that ``num`` more units are done; ``figures`` are shown beside the count until the next ones."""

    def __call__(self, num: int, **figures: float | int | str) -> None:
        """Advance by ``num`` units."""
        ...


@contextmanager
def progress(title: str, total: int, unit: str) -> Generator[Advance, None, None]:
    """Show the progress of a block that does ``total`` units (plural noun ``unit``) of work.

    ``total`` may be an estimate; 0 is unknown.
    """
    console = Console(stderr=True)
    show = _bar if console.is_terminal else _lines
    with show(console, title, total, unit) as advance:
        yield advance


def note(text: str) -> None:
    """Say something that is no progress, where the progress is shown."""
    Console(stderr=True).print(text, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _bar(console: Console, title: str, total: int, unit: str) -> Generator[Advance, None, None]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}, {{task.fields[rate]}}, left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    start_s = time.monotonic()
    done = 0
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(title, total=total or None, rate="-", figures="")

        def advance(num: int, **figures: float | int | str) -> None:
            nonlocal done
            done += num
            bars.update(bar, advance=num, rate=_rate(done, time.monotonic() - start_s))
            if figures:
                bars.update(bar, figures=_format(figures))

        yield advance


@contextmanager
def _lines(console: Console, title: str, total: int, unit: str) -> Generator[Advance, None, None]:
    start_s = last_s = done_s = time.monotonic()
    done, shown, latest = 0, -1, ""

    def line() -> None:
        nonlocal shown
        shown = done
        of_total = f"{done} of {total} {unit}" if total else f"{done} {unit}"
        # Between two units, which may be hours apart, the rate is that of the last one, and what is left shrinks.
        since_s = time.monotonic() - done_s
        left_s = max(0.0, (done_s - start_s) / done * (total - done) - since_s) if done else 0.0
        left = f", {left_s:.0f} s left" if 0 < done < total else ""
        parts = f"{title}: {of_total}, {_rate(done, done_s - start_s)}{left}" + (f", {latest}" if latest else "")
        console.print(parts, soft_wrap=True, highlight=False, markup=False)

    def advance(num: int, **figures: float | int | str) -> None:
        nonlocal done, done_s, latest, last_s
        if num:
            done, done_s = done + num, time.monotonic()
        latest = _format(figures) if figures else latest
        if time.monotonic() - last_s >= _SECONDS_PER_LINE:
            last_s = time.monotonic()
            line()

    yield advance
    if shown < done or not done:
        line()


def _rate(done: int, elapsed_s: float) -> str:
    return f"{done / elapsed_s:.3g}/s" if elapsed_s > 0 else "-"


def _format(figures: dict[str, float | int | str]) -> str:
    return ", ".join(f"{name} {value if isinstance(value, str) else f'{value:.4g}'}" for name, value in figures.items())
