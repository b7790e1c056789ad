"""The ranking of a sweep on the terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from mas_ray.cli.text_table import text_table


def print_sweep_json(sweep: Path) -> None:
    """Print a sweep's trials as JSON, the best first."""
    from mas_ray.pipelines.sweep_folder import ranked, read_sweep, read_trials
    from mas_ray.pipelines.sweep_summary import records

    read_sweep(sweep)
    print(records(ranked(read_trials(sweep))), end="")


def print_sweep(sweep: Path) -> None:
    """Print a sweep's trials, the best first, why some failed, and what to do next."""
    from mas_ray.pipelines.sweep_folder import ranked, ranking, read_sweep, read_trials

    job, trials = read_sweep(sweep), ranked(read_trials(sweep))
    print(f"\nsweep {job.base.name}: {len(trials)} trials, ranked by held-out yardstick (lower is better)\n")
    print(text_table(ranking(job, trials), num_names=2))
    for trial in trials:
        if trial.outcome is not None and trial.outcome.reason is not None:
            print(f"\n  trial {trial.number:04d} failed: {trial.outcome.reason}")
    print()
    best = sweep / "best_job.json"
    if best.is_file():
        print(f"train the best again, into a folder of its own:  mas-ray train --job {shlex.quote(str(best))}")
    if (sweep / "sweep.html").is_file():
        print(f"plots:  {sweep / 'sweep.html'}")
    store = job.base.tracking_uri
    if store is not None and store.startswith("sqlite:"):
        print(f"compare in MLflow:  mlflow ui --host 127.0.0.1 --backend-store-uri {shlex.quote(store)}")
