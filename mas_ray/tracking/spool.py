"""The spool: one line per epoch in ``metrics.jsonl`` of a stage, written by Ray Train's controller.

It is the record of a stage. The progress bar and MLflow follow it, so that a slow or dead tracking server delays
nothing and loses nothing. An epoch that was repeated after a fault stands there twice; readers keep the later line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        with Path(self._path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, sort_keys=True) + "\n")


def read_spool(path: Path) -> list[dict[str, Any]]:
    """The epochs of a stage in order, each once. A line still being written is left for the next reading."""
    if not path.is_file():
        return []
    epochs: dict[int, dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):
            line = json.loads(text)
            epochs[line["epoch"]] = line
    return [epochs[epoch] for epoch in sorted(epochs)]
