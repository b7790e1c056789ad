"""MPI-INF-3DHP by its official files: every fifth frame of five cameras, the release's own masks.

Sixteen workers of two CPUs each on disks that all see; how long it takes is not measured. Subjects 7 and 8 are held
out for testing, as in the paper; no subject for validation, so checkpoints are chosen by the training split's masks.
See docs/corpora/mpi_inf_3dhp.md for what belongs where.

    mas-ray submit jobs/ingest_3dhp.py --address http://127.0.0.1:8265
    python -m jobs.ingest_3dhp                                          on this machine
"""

from mas_ray.config.ingest import FrameSampling, ProvidedMasks, SplitBySubject
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.mpi_inf_3dhp import EVALUATION_SUBJECTS

JOB = IngestJob(
    root="/data/corpora/mpi_inf_3dhp",
    output="/data/datasets/3dhp",
    annotations="/data/annotations/3dhp",
    corpus="mpi_inf_3dhp",
    masks=ProvidedMasks(),
    sampling=FrameSampling(stride=5),
    split=SplitBySubject(validation=(), test=EVALUATION_SUBJECTS),
    workers=Workers(num=16, cpus_each=2.0),
)

if __name__ == "__main__":
    from mas_ray.cli.ingest import show

    raise SystemExit(show(JOB))
