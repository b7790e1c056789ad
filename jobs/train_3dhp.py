"""The paper's cascade on MPI-INF-3DHP: subjects 1 to 6, the five cameras at chest height (section 4.2).

Two workers with a GPU each. The paper, on subjects 7 and 8, which is not the official test set: PCK 60.2, AUC 24.7,
MPJPE 193.6 mm; ours: not measured. The dataset is an ingest of your licensed copy, subjects held out by
``SplitBySubject``.

    mas-ray submit jobs/train_3dhp.py --address http://127.0.0.1:8265
    python -m jobs.train_3dhp                                               on this machine
"""

from mas_ray.config.cascade import paper_cascade
from mas_ray.config.jobs import TrainJob, Workers

JOB = TrainJob(
    manifest="s3://datasets/3dhp/manifest.json",
    storage="/data/runs",
    name="3dhp",
    cascade=paper_cascade(),
    workers=Workers(num=2, cpus_each=8.0, gpus_each=1.0),
)

if __name__ == "__main__":
    from mas_ray.cli.train import show

    raise SystemExit(show(JOB))
