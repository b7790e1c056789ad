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
        line = {
            key: sum(worker[key] for worker in metrics) / len(metrics) if isinstance(value, float) else value
            for key, value in metrics[0].items()
        }
        append_report(Path(self._path), line)


def append_report(path: Path, report: dict[str, Any]) -> None:
    """Add a line to a spool."""
    with path.open("ab+") as file:
        torn = file.tell() > 0 and not _ends_a_line(file)  # a line that a full disk or a power cut left unfinished
        file.write(("\n" if torn else "").encode() + json.dumps(report, sort_keys=True).encode() + b"\n")


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
