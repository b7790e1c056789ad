"""The TikTok dataset for mixed-view training: the paper's 42 sequences, every fifth frame, the release's own masks.

Eight workers of one CPU each on disks that all see; how long it takes is not measured. Sequence 00326 is held out, as
in the code that the paper's authors released later. See docs/corpora/tiktok.md for what belongs where.

    mas-ray submit jobs/ingest_tiktok.py --address http://127.0.0.1:8265
    python -m jobs.ingest_tiktok                                          on this machine
"""

from mas_ray.config.ingest import FrameSampling, ProvidedMasks, SplitBySubject
from mas_ray.config.jobs import IngestJob, Workers
from mas_ray.corpora.tiktok import PAPER_SEQUENCES, PAPER_TEST_SEQUENCE

JOB = IngestJob(
    root="/data/corpora/TikTok_dataset",
    output="/data/datasets/tiktok",
    corpus="tiktok",
    actions=PAPER_SEQUENCES,
    masks=ProvidedMasks(),
    sampling=FrameSampling(stride=5),
    split=SplitBySubject(validation=(), test=(PAPER_TEST_SEQUENCE,)),
    workers=Workers(num=8),
)

if __name__ == "__main__":
    from mas_ray.cli.ingest import show

    raise SystemExit(show(JOB))
