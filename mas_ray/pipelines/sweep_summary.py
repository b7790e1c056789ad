"""The end of a sweep: a ranking, the best job as a file, and plots."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mas_ray.config import codec
from mas_ray.config.sweep import TuneJob, trial_job
from mas_ray.pipelines.draw import study_to_plot
from mas_ray.pipelines.sweep_folder import Trial, ranked, ranking
from mas_ray.reporting.markdown import table
from mas_ray.reporting.sweep_plots import sweep_html
from mas_ray.shards.write import write_text


def write_summary(job: TuneJob, sweep: Path, trials: list[Trial]) -> None:
    """Write ``trials.json``, ``trials.md``, ``best_job.json`` and ``sweep.html`` into a sweep's folder.

    The best job trains in a folder beside the sweep's, registers its model, and is measured by the sweep's yardstick so
    that its score compares. There is none if no trial finished.
    """
    best_first = ranked(trials)
    write_text(sweep / "trials.json", records(best_first))
    write_text(sweep / "trials.md", table(ranking(job, best_first)) + "\n")
    write_text(sweep / "sweep.html", sweep_html(job.base.name, study_to_plot(job, trials)))
    if best_first and best_first[0].outcome and best_first[0].outcome.ending == "finished":
        best = replace(
            trial_job(job, best_first[0].drawn),
            storage=str(sweep.parent),
            name=f"{job.base.name}-best",
        )
        write_text(sweep / "best_job.json", codec.dumps(best))


def records(best_first: list[Trial]) -> str:
    """JSON of trials."""
    return json.dumps([_record(trial) for trial in best_first], indent=2) + "\n"


def _record(trial: Trial) -> dict[str, object]:
    return {
        "trial": trial.number,
        "end": trial.outcome and trial.outcome.ending,
        "reason": trial.outcome and trial.outcome.reason,
        "epochs": len(trial.told),
        "score": trial.score,
        "drawn": dict(trial.drawn),
    }
