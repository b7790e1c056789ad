"""Writing the spool: Ray Train's controller appends what the workers report.

The progress bar and MLflow follow the file, so that a slow or dead tracking server delays nothing and loses nothing.
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
        line = {key: _of_all(key, metrics) for worker in metrics for key in worker}
        append_report(Path(self._path), line)


def append_report(path: Path, report: dict[str, Any]) -> None:
    """Add a line to a spool."""
    with path.open("ab+") as file:
        torn = file.tell() > 0 and not _ends_a_line(file)  # a line that a full disk or a power cut left unfinished
        file.write(("\n" if torn else "").encode() + json.dumps(report, sort_keys=True).encode() + b"\n")


def _of_all(key: str, metrics: list[dict[str, Any]]) -> Any:
    """A figure averaged over the workers that have it (not each may have a GPU that tells); what is no figure, once."""
    values = [worker[key] for worker in metrics if key in worker]
    return sum(values) / len(values) if isinstance(values[0], float) else values[0]


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
