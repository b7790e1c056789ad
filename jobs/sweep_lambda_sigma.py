"""λ_s, λ_p and σ of the first two stages of the CPU cascade, on the dataset that ``jobs.learn`` leaves.

Twelve trials drawn at random; the worse ones are stopped at 4 or at 12 of their 20 epochs. Two trials at once with one
worker each on two cores, where it takes about a quarter of an hour.

    mas-ray tune jobs/sweep_lambda_sigma.py        or        python -m jobs.sweep_lambda_sigma
"""

from mas_ray.config.cascade import cpu_cascade
from mas_ray.config.jobs import TrainJob, Workers
from mas_ray.config.search_space import Dependent, LogUniform, Uniform
from mas_ray.config.sweep import Asha, RandomSearch, TuneJob

JOB = TuneJob(
    base=TrainJob(
        manifest="learn/easy/dataset/manifest.json",
        storage="sweeps",
        name="lambda-sigma",
        cascade=cpu_cascade(),
        workers=Workers(num=1),
    ),
    stages=("torso", "shape_prior"),
    space=(
        LogUniform(field="cascade.stages.*.loss_weights.skeleton_mask", low=0.2, high=5.0, scales=True),
        LogUniform(field="cascade.stages.shape_prior.loss_weights.physique_mask", low=0.5, high=30.0),
        Uniform(field="cascade.stages.*.bone_width", low=0.045, high=0.085),
        Dependent(field="cascade.stages.*.arm_bone_width", of="cascade.stages.*.bone_width", factor=0.7071),
    ),
    search=RandomSearch(num_trials=12),
    early_stopping=Asha(grace_epochs=4, reduction_factor=3.0),
)

if __name__ == "__main__":
    from mas_ray.cli.tune import show

    raise SystemExit(show(JOB))
