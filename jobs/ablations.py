"""The paper's Tables 4 and 5 and Fig. 4 as a sweep, every recipe with three seeds, on the dataset of ``jobs.learn``.

27 trainings of the whole CPU cascade, none stopped early, all of one seed before the next. Two cores take about a
quarter of an hour for a training, so a night for all; a cluster takes as many times less as it has more. The tables are
measured afterwards, of what has finished.

    mas-ray tune jobs/ablations.py        or        python -m jobs.ablations
    mas-ray tables --sweep sweeps/ablations --annotations learn/easy/annotations
"""

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.config.published import PAPER
from mas_ray.config.search_space import Choice
from mas_ray.config.sweep import GridSearch, TuneJob

JOB = TuneJob(
    base=TrainJob(
        manifest="learn/easy/dataset/manifest.json",
        storage="sweeps",
        name="ablations",
        cascade=cpu_cascade(),
        workers=Workers(num=1),
    ),
    space=(
        Choice(field="cascade.seed", values=(0, 1, 2)),
        Choice(field="without", values=tuple(dict.fromkeys(row.without for row in PAPER))),
    ),
    search=GridSearch(),
)

if __name__ == "__main__":
    from mas_ray.cli.tune import show

    raise SystemExit(show(JOB))
