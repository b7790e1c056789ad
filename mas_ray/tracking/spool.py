"""The spool: one line per epoch in ``metrics.jsonl`` of a stage. Reading it needs neither Ray nor MLflow.

It is the record of a stage (``report_spool`` writes it). An epoch that was repeated after a fault stands there twice.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_spool(path: Path) -> list[dict[str, Any]]:
    """The epochs of a stage in order, each once: as it was reported last."""
    epochs = {line["epoch"]: line for line in read_lines(path)}
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All reports of a stage as they came. Torn lines, and one still being written, are passed over."""
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not text.endswith("\n"):
            continue
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
