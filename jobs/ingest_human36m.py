"""Human3.6M by its official files: the paper's six actions, 200 frames of each recording, the release's own masks.

Sixteen workers of two CPUs each on disks that all see; how long it takes is not measured. Subjects 9 and 11 are held
out for testing, as in the paper; no subject for validation, so checkpoints are chosen by the training split's masks.
See docs/corpora/human36m.md for what belongs where.

    mas-ray submit jobs/ingest_human36m.py --address http://127.0.0.1:8265
    python -m jobs.ingest_human36m                                          on this machine
"""

from mas_ray.config.ingest import FrameSampling, ProvidedMasks, SplitBySubject
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.human36m import PAPER_ACTIONS, TEST_SUBJECTS

JOB = IngestJob(
    root="/data/corpora/human36m",
    output="/data/datasets/human36m",
    annotations="/data/annotations/human36m",
    corpus="human36m",
    actions=PAPER_ACTIONS,
    masks=ProvidedMasks(),
    sampling=FrameSampling(num_spread=200),
    split=SplitBySubject(validation=(), test=TEST_SUBJECTS),
    workers=Workers(num=16, cpus_each=2.0),
)

if __name__ == "__main__":
    from mas_ray.cli.ingest import show

    raise SystemExit(show(JOB))
