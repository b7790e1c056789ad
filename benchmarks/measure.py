"""How the benchmarks measure: CPU time of interleaved variants on one thread, and peak memory in a child process.

CPU time rather than wall time, and interleaving (A B C A B C ...), because a machine is seldom alone: what slows it
down then slows all variants. Read the ratios, not the milliseconds.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

_M_MMAP_THRESHOLD = -3


def interleaved_cpu_seconds(variants: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median CPU seconds of each variant on one thread, after one call of each to warm up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for variant in variants.values():
            variant()
        seconds = [{name: _cpu_seconds(variant) for name, variant in variants.items()} for _ in range(repetitions)]
    finally:
        torch.set_num_threads(threads)
    return {name: statistics.median(round_[name] for round_ in seconds) for name in variants}


def peak_bytes(prepare: Callable[..., Callable[[], object]], *arguments: object) -> int:
    """Bytes that ``prepare(*arguments)()`` takes at its peak, beyond what is resident before (Linux only).

    A fresh process prepares, calls once to warm up, and calls again while the resident high-water mark is watched.
    ``prepare`` must stand at the top of a module; ``arguments`` must pickle.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(_peak_bytes_here, prepare, arguments).result()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under a title, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    print(f"\n{title}")
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells))


def _cpu_seconds(variant: Callable[[], object]) -> float:
    start = time.process_time()
    variant()
    return time.process_time() - start


def _peak_bytes_here(prepare: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> int:
    # Every larger block straight from the system and back to it: no freed memory stays resident to hide the growth.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 16)
    torch.set_num_threads(1)
    variant = prepare(*arguments)
    variant()
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back to what is resident now
    resident = _status_bytes("VmRSS")
    variant()
    return _status_bytes("VmHWM") - resident


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
