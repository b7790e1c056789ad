"""Mixed-view fine-tuning (section 4.5, Table 3): half of the steps take single views from another dataset.

It starts from the last checkpoint of a run of the paper's cascade, and ``CONTROL`` does the same number of steps from
the same checkpoint on multi-view data only. Two GPUs; set the paths first.

    python -m jobs.finetune_mixed        trains both, one after the other
"""

from dataclasses import replace

from mas_ray.config.cascade import mixed_view_finetune
from mas_ray.config.jobs import TrainJob, Workers

JOB = TrainJob(
    manifest="dataset/manifest.json",
    storage="runs",
    name="finetune-mixed",
    single_view_manifest="single-views/manifest.json",
    initial="runs/cascade/stages/2-limbs/limbs-epoch0025",
    cascade=mixed_view_finetune(),
    workers=Workers(num=2, cpus_each=4.0, gpus_each=1.0),
)
CONTROL = replace(
    JOB,
    name="finetune-multi",
    single_view_manifest=None,
    cascade=mixed_view_finetune(single_view_share=0.0),
)

if __name__ == "__main__":
    from mas_ray.cli.train import show

    raise SystemExit(show(JOB) or show(CONTROL))
