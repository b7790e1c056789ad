"""What a sweep costs beyond its trainings: trials that train one step, against as many bare runs of ``train``.

    python benchmarks/sweep.py --trials 3 --pairs 3

Both in one Ray session of one CPU, one training after the other, with the same MLflow; they take turns. A ratio of
wall-clock time for each pair of turns. What remains when nothing is trained is all overhead: Ray Train's start of a
worker group on both sides, and on the sweep's also a process per trial. Minutes, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from measure import print_table

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.ingest import BackgroundMasks
from mas_ray.config.jobs import IngestJob, TrainJob
from mas_ray.config.search_space import Choice
from mas_ray.config.sweep import GridSearch, TuneJob
from mas_ray.config.yardstick import Yardstick
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import write_corpus
from mas_ray.pipelines import session
from mas_ray.pipelines.ingest import ingest
from mas_ray.pipelines.train import train
from mas_ray.pipelines.tune import tune


def main() -> None:
    """Run the pairs and print their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    flags = parser.parse_args()
    rows: list[list[str]] = []
    ratios: list[float] = []
    with tempfile.TemporaryDirectory(prefix="mas-ray-sweep-") as name, session.connect(num_cpus=1):
        folder = Path(name)
        manifest = _dataset(folder)
        for pair in range(flags.pairs):
            sweep = _sweep(manifest, folder / f"sweep-{pair}", flags.trials)
            bare_s = _bare_seconds(sweep.base, folder / f"bare-{pair}", flags.trials)
            start_s = time.monotonic()
            trials = tune(sweep)
            sweep_s = time.monotonic() - start_s
            if [trial.outcome and trial.outcome.ending for trial in trials] != ["finished"] * flags.trials:
                raise SystemExit(f"a trial did not finish: {trials}")
            ratios.append(sweep_s / bare_s)
            rows.append([str(pair), f"{bare_s:.1f}", f"{sweep_s:.1f}", f"{ratios[-1]:.2f}"])
    print_table(f"{flags.trials} trainings of one step", ["pair", "bare runs s", "sweep s", "ratio"], rows)
    print(f"\nmedian ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _dataset(folder: Path) -> Path:
    corpus = SyntheticConfig(num_subjects=1, takes_per_subject=1, instants_per_take=8, width_px=512, height_px=512)
    write_corpus(folder / "corpus", corpus)
    ingest(
        IngestJob(
            root=str(folder / "corpus"),
            output=str(folder / "dataset"),
            masks=BackgroundMasks(plate="given"),
            curation=None,
        )
    )
    return folder / "dataset" / "manifest.json"


def _sweep(manifest: Path, storage: Path, num_trials: int) -> TuneJob:
    torso = replace(cpu_cascade().stages[0], learning_rates=((1, 2e-3),))
    return TuneJob(
        base=TrainJob(
            manifest=str(manifest),
            storage=str(storage),
            name="sweep",
            cascade=replace(cpu_cascade(), stages=(torso,), steps_per_epoch=1),
            yardstick=Yardstick(),
            registered_model=None,
        ),
        space=(Choice(field="cascade.seed", values=tuple(range(num_trials))),),
        search=GridSearch(),
        max_concurrent=1,
    )


def _bare_seconds(base: TrainJob, storage: Path, num: int) -> float:
    start_s = time.monotonic()
    for seed in range(num):
        train(replace(base, storage=str(storage), name=f"run-{seed}", cascade=replace(base.cascade, seed=seed)))
    return time.monotonic() - start_s


if __name__ == "__main__":
    main()
