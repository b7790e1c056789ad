"""λ_s, λ_p and σ of the CPU cascade's second stage, from one checkpoint of the first, on the dataset of ``jobs.learn``.

Twelve trials drawn at random; the worse ones are stopped after 2 or 4 of their 8 epochs. Two at once with one worker
each take about a quarter of an hour on two cores. λ and σ are swept, so trials are ranked by how well the shape prior
network explains the masks and by how well the views agree: docs/experiments.md says why not by
the drawn skeleton alone.

    mas-ray tune jobs/sweep_lambda_sigma.py        or        python -m jobs.sweep_lambda_sigma
"""

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.config.search_space import Dependent, LogUniform, Uniform
from mas_ray.config.sweep import Asha, RandomSearch, TuneJob
from mas_ray.config.yardstick import Yardstick, YardstickWeights

_STAGE = "cascade.stages.shape_prior"
JOB = TuneJob(
    base=TrainJob(
        manifest="learn/easy/dataset/manifest.json",
        storage="sweeps",
        name="lambda-sigma",
        initial="learn/easy/runs/seed0/stages/0-torso/torso-epoch0012",
        cascade=cpu_cascade(),
        workers=Workers(num=1),
        yardstick=Yardstick(weights=YardstickWeights(skeleton_mask=0.0, physique_iou=1.0, reprojection=0.2)),
    ),
    stages=("shape_prior",),
    space=(
        LogUniform(field=f"{_STAGE}.loss_weights.skeleton_mask", low=0.1, high=10.0),
        LogUniform(field=f"{_STAGE}.loss_weights.physique_mask", low=0.4, high=40.0),
        Uniform(field=f"{_STAGE}.bone_width", low=0.045, high=0.09),
        Dependent(field=f"{_STAGE}.arm_bone_width", of=f"{_STAGE}.bone_width", factor=0.7071),
    ),
    search=RandomSearch(num_trials=12),
    early_stopping=Asha(grace_epochs=2, reduction_factor=2.0),
)

if __name__ == "__main__":
    from mas_ray.cli.tune import show

    raise SystemExit(show(JOB))
