"""Errors of the model of ``jobs.train_human36m`` on the held-out subjects, under every handling of left and right.

One process. The paper (Table 1): 2D error 3.63 %, MPJPE 95.9 mm, P-MPJPE 90.4 mm; ours: not measured. Only this job
reads reference joints.

    mas-ray submit jobs/evaluate_human36m.py --address http://127.0.0.1:8265
    python -m jobs.evaluate_human36m                                        on this machine
"""

from mas_ray.config.jobs import EvaluateJob

JOB = EvaluateJob(
    checkpoint="/data/runs/human36m/stages/2-limbs/limbs-epoch0025",
    manifest="s3://datasets/human36m/manifest.json",
    annotations="/data/annotations/human36m",
    output="/data/evaluations/human36m",
    split="test",
)

if __name__ == "__main__":
    from mas_ray.cli.evaluate import show

    raise SystemExit(show(JOB))
