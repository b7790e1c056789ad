"""The next item while this one is in use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = 1) -> Generator[Result]:
    """What ``map(function, items)`` gives, computed in a thread of its own, up to ``ahead`` results too early.

    It gains what ``function`` does without Python's lock: decoding JPEG and zstd, resizing, tensor arithmetic. One
    thread computes one result after the other, so their order and values are those of ``map``. An error of
    ``function`` is raised where its result would have come. The thread ends with the generator; close the generator
    if it is not read to its end.

    Args:
        function: Called in the thread.
        items: Iterated by the reader's thread.
        ahead: How many results may wait or be under way while the reader is busy; they are held in memory.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        pending = deque[Future[Result]]()
        try:
            while True:
                pending.extend(thread.submit(function, item) for item in islice(remaining, ahead + 1 - len(pending)))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
