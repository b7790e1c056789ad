"""The spool: one line per epoch in ``metrics.jsonl`` of a stage, written by Ray Train's controller.

It is the record of a stage. The progress bar and MLflow follow it, so that a slow or dead tracking server delays
nothing and loses nothing. An epoch that was repeated after a fault stands there twice; readers keep the later line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from ray.train import Checkpoint, UserCallback


class ReportSpool(UserCallback):
    """Appends what the workers reported, averaged over them, to a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        """Called in the controller process once per report, with one dict per worker."""
        line = {
            key: sum(worker[key] for worker in metrics) / len(metrics) if isinstance(value, float) else value
            for key, value in metrics[0].items()
        }
        with Path(self._path).open("ab+") as file:
            torn = file.tell() > 0 and not _ends_a_line(file)  # a line that a full disk or a power cut left unfinished
            file.write(("\n" if torn else "").encode() + json.dumps(line, sort_keys=True).encode() + b"\n")


def read_spool(path: Path) -> list[dict[str, Any]]:
    """The epochs of a stage in order, each once. Torn lines, and one still being written, are passed over."""
    if not path.is_file():
        return []
    epochs: dict[int, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not text.endswith("\n"):
            continue
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        epochs[line["epoch"]] = line
    return [epochs[epoch] for epoch in sorted(epochs)]


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
