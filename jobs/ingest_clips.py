"""In-the-wild clips, TikTok-style: every fifth frame of whoever is alone in the picture, curated, in an object store.

64 workers of one CPU each. Two bare cores do about as much as two of them (benchmarks/README.md); how many clips an
hour that is depends on their length and on the mask method, so try a hundred first: ours is not measured at this size.
A tenth of the people each is held out for validation and test.

    mas-ray submit jobs/ingest_clips.py --address http://127.0.0.1:8265
    python -m jobs.ingest_clips                                          on this machine
"""

from mas_ray.config.ingest import FrameSampling, SelfieMasks, SplitByShare
from mas_ray.config.jobs import IngestJob, Workers

JOB = IngestJob(
    root="s3://corpora/clips",
    output="s3://datasets/clips",
    masks=SelfieMasks(),
    sampling=FrameSampling(stride=5),
    split=SplitByShare(validation=0.1, test=0.1),
    workers=Workers(num=64),
)

if __name__ == "__main__":
    from mas_ray.cli.ingest import show

    raise SystemExit(show(JOB))
