"""The paper's cascade on Human3.6M: subjects 1, 5, 6, 7, 8, four views each (section 4.2, supplement A.3).

Two workers with a GPU each. The paper: 45 epochs in about 9 hours on two RTX 3090; Table 1, subjects 9 and 11: 2D error
3.63 %, MPJPE 95.9 mm, P-MPJPE 90.4 mm; ours: not measured. The dataset is an ingest of your licensed copy, subjects
held out by ``SplitBySubject``.

    mas-ray submit jobs/train_human36m.py --address http://127.0.0.1:8265
    python -m jobs.train_human36m                                           on this machine
"""

from mas_ray.config.cascade import paper_cascade
from mas_ray.config.jobs import TrainJob, Workers

JOB = TrainJob(
    manifest="s3://datasets/human36m/manifest.json",
    storage="/data/runs",
    name="human36m",
    cascade=paper_cascade(),
    workers=Workers(num=2, cpus_each=8.0, gpus_each=1.0),
)

if __name__ == "__main__":
    from mas_ray.cli.train import show

    raise SystemExit(show(JOB))
