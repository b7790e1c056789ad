"""The folder of a sweep: what lies where, and what it says. Reading it needs neither torch nor Ray.

``sweep.json``, the job; ``trials/<number>/``, a run folder of ``run_folder`` each, with ``drawn.json``, the values that
make the trial, written before it starts, and ``outcome.json``, written when it has ended for good; ``trials.json`` and
``trials.md``, the ranking; ``best_job.json``; ``sweep.html``, the plots.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mas_ray.config import codec
from mas_ray.config.cascade import CascadeConfig
from mas_ray.config.jobs import TrainJob
from mas_ray.config.search_space import Value
from mas_ray.config.sweep import TuneJob
from mas_ray.pipelines.run_folder import StageResult, read_stage_result, stage_folder
from mas_ray.reporting.markdown import figure
from mas_ray.shards.write import write_text
from mas_ray.tracking.spool import read_spool

SCORE = "yardstick/score"

Ending = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended."""

    ending: Ending
    """``stopped``: early, by the scheduler."""
    reason: str | None = None
    """Why it failed, in one line."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a trial said at the end of an epoch."""

    num_epochs: int
    """Finished epochs, of all its stages together."""
    score: float
    time_ms: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial as its folder has it."""

    number: int
    drawn: Mapping[str, Value]
    """By field, as the space names it."""
    told: tuple[Told, ...]
    outcome: Outcome | None
    """None: it has not ended."""
    score: float | None
    """Of the checkpoint that a finished trial hands on; of the last epoch of any other. None: it never said."""


def trial_folder(sweep: Path, number: int) -> Path:
    """Where a trial lies: the run folder of its training."""
    return sweep / "trials" / f"{number:04d}"


def begin_trial(sweep: Path, number: int, drawn: Mapping[str, Value]) -> None:
    """Record what a trial is, before anything of it runs."""
    folder = trial_folder(sweep, number)
    folder.mkdir(parents=True, exist_ok=True)  # a driver may have died between this line and the next
    write_text(folder / "drawn.json", json.dumps(dict(drawn), indent=2) + "\n")


def end_trial(sweep: Path, number: int, outcome: Outcome) -> None:
    """Record how a trial ended; it is never run again."""
    write_text(trial_folder(sweep, number) / "outcome.json", codec.dumps(outcome))


def read_sweep(sweep: Path) -> TuneJob:
    """The job of a sweep; ``ValueError`` if the folder has none."""
    path = sweep / "sweep.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; this is no folder of a sweep")
    return codec.loads(TuneJob, path.read_text(), str(path))


def read_trials(sweep: Path) -> list[Trial]:
    """All trials that ever began, by number. A folder without ``drawn.json`` is none: its values were never known."""
    return [_read_trial(folder) for folder in sorted(sweep.glob("trials/*")) if (folder / "drawn.json").is_file()]


def ranked(trials: list[Trial]) -> list[Trial]:
    """Finished trials by score, then stopped ones by how far they came and score, then the rest."""

    def key(trial: Trial) -> tuple[int, int, float]:
        place = ("finished", "stopped", None, "failed").index(trial.outcome and trial.outcome.ending)
        score = float("inf") if trial.score is None else trial.score
        return place, -len(trial.told) if place else 0, score

    return sorted(trials, key=key)


def ranking(job: TuneJob, best_first: list[Trial]) -> list[list[str]]:
    """Rows of a table of trials, its header first."""
    fields = [dimension.field for dimension in job.space if best_first and dimension.field in best_first[0].drawn]
    header = ["trial", "end", "epochs", "score", *short_names(fields).values()]
    return [header] + [
        [
            f"{trial.number:04d}",
            trial.outcome.ending if trial.outcome else "not ended",
            str(len(trial.told)),
            figure(trial.score, 5),
            *(_text(trial.drawn[field]) for field in fields),
        ]
        for trial in best_first
    ]


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """For each field the end of its path that no other has, from a name on: ``bone_width``, ``learning_rates.*.1``."""

    def ends(field: str) -> list[str]:
        parts = field.split(".")
        starts = [n for n in reversed(range(len(parts))) if parts[n] != "*" and not parts[n].isdigit()]
        return [".".join(parts[start:]) for start in starts]

    times = Counter(end for field in fields for end in ends(field))
    return {field: next((end for end in ends(field) if times[end] == 1), field) for field in fields}


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(value) or "-" if isinstance(value, tuple) else str(value)


def _read_trial(folder: Path) -> Trial:
    path = folder / "outcome.json"
    outcome = codec.loads(Outcome, path.read_text(), str(path)) if path.is_file() else None
    told: list[Told] = []
    score: float | None = None
    job = folder / "job.json"
    if job.is_file():
        cascade = codec.loads(TrainJob, job.read_text(), str(job)).cascade
        told, score = _told(folder, cascade)
    return Trial(
        number=int(folder.name),
        drawn=_drawn(folder / "drawn.json"),
        told=tuple(told),
        outcome=outcome,
        score=score if score is not None or not told else told[-1].score,
    )


def _drawn(path: Path) -> dict[str, Value]:
    """JSON has no tuples, and no value of a field is a list."""
    items: dict[str, Any] = json.loads(path.read_text())
    return {field: tuple(value) if isinstance(value, list) else value for field, value in items.items()}


def _told(folder: Path, cascade: CascadeConfig) -> tuple[list[Told], float | None]:
    """What the spools of the stages say, one after the other; and the score of the last stage's checkpoint."""
    told: list[Told] = []
    before, score = 0, None
    for index, stage in enumerate(cascade.stages):
        lines = read_spool(stage_folder(folder, cascade, index) / "metrics.jsonl")
        told += [
            Told(num_epochs=before + line["epoch"] + 1, score=line[SCORE], time_ms=line["time_ms"]) for line in lines
        ]
        before += stage.num_epochs
        result = read_stage_result(folder, cascade, index)
        score = _score_of(result, lines) if result and index == len(cascade.stages) - 1 else None
    return told, score


def _score_of(result: StageResult, lines: list[dict[str, Any]]) -> float | None:
    """The score in the epoch of a stage's chosen checkpoint."""
    for line in lines:
        if line["validation/reconstruction"] == result.validation_reconstruction:
            return line[SCORE]
    return None
