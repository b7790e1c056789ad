"""``mas-ray ingest``: turn a corpus of video into a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import tyro

from mas_ray.cli.job_file import load_job
from mas_ray.config.ingest import (
    BackgroundMasks,
    ChromaKeyMasks,
    CorpusKind,
    FrameSampling,
    GraphCutMasks,
    MaskConfig,
    MotionMasks,
    NoSplit,
    ProvidedMasks,
    SelfieMasks,
    SplitByShare,
    SplitByTail,
)
from mas_ray.config.jobs import IngestJob, Workers

Method = Literal["selfie", "background", "background-picture", "motion", "chroma-key", "graph-cut", "provided"]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Turn a corpus of video into a dataset of masks and geodesic distances. The same command again goes on."""

    root: str = ""
    """The corpus: a folder of takes, or its URI in an object store."""
    output: str = ""
    """The dataset folder to write, or its URI in an object store."""
    work: str | None = None
    """Where the output is an object store: folder for takes in the making, the same place for all machines, or its URI;
    without it, in the store beside the shards."""
    corpus: CorpusKind = "folder"
    """How the corpus lies there: takes in folders, or an official release (docs/corpora)."""
    actions: tuple[str, ...] = ()
    """Ingest the takes of these actions alone."""
    annotations: str | None = None
    """Where the takes' reference joints go, if any: a folder outside the dataset."""
    masks: Method = "selfie"
    """How people are masked: by a network, their static background (seen where they are not, or a picture of it beside
    the videos), their motion, a backdrop of one colour, a graph cut around who moves, or by masks beside the videos; a
    job can name Segment Anything."""
    stride: int = 1
    """Use every n-th frame."""
    split: Literal["none", "tail", "share"] = "none"
    """``tail`` holds out the end of every take (25 instants, after a gap of 10), ``share`` a tenth of the subjects each
    for validation and test; a job record can name subjects."""
    workers: int = 1
    """Ray workers; each ingests one take at a time."""
    job: str | None = None
    """A file to run instead of all other flags: a job record (JSON), or Python with JOB = IngestJob(...)."""


def run(argv: Sequence[str]) -> int:
    """Ingest, and say what the dataset holds."""
    return show(job_of(argv))


def job_of(argv: Sequence[str]) -> IngestJob:
    """The job that a command line stands for."""
    return _job(tyro.cli(Flags, args=argv, prog="mas-ray ingest", description=Flags.__doc__))


def show(job: IngestJob) -> int:
    """Run an ingest job and print what the dataset holds."""
    from mas_ray.pipelines.ingest import ingest  # OpenCV and Ray load only now
    from mas_ray.shards.location import location
    from mas_ray.shards.splits import split_sizes

    manifest = ingest(job)
    output = location(job.output)
    num_instants = sum(take.num_instants for take in manifest.takes)
    print(f"dataset   {output / 'manifest.json'}")
    print(f"  {num_instants} instants of {len(manifest.takes)} takes in {len(manifest.shards)} shards")
    sizes = split_sizes(manifest)
    print(f"  {sizes}")
    if sizes.warning:
        print(f"  {sizes.warning}")
    for reject in manifest.rejects:
        print(f"  left out: {reject.count} {reject.level}(s), {reject.reason}")
    if manifest.rejects:
        print(f"  each with its reason in {output / 'rejects.jsonl'}")
    return 0


def _job(flags: Flags) -> IngestJob:
    if flags.job:
        if flags != Flags(job=flags.job):
            raise ValueError("--job: takes no other flags; change the record instead")
        return load_job(flags.job, IngestJob)
    if not flags.root or not flags.output:
        raise ValueError("--root, --output: name the corpus and the dataset folder, or give a record with --job")
    return IngestJob(
        root=flags.root,
        output=flags.output,
        work=flags.work,
        annotations=flags.annotations,
        corpus=flags.corpus,
        actions=flags.actions,
        masks=mask_config(flags.masks),
        sampling=FrameSampling(stride=flags.stride),
        split={"none": NoSplit(), "tail": SplitByTail(), "share": SplitByShare()}[flags.split],
        workers=Workers(num=flags.workers),
    )


def mask_config(method: Method) -> MaskConfig:
    """The mask method of a name."""
    match method:
        case "selfie":
            return SelfieMasks()
        case "background":
            return BackgroundMasks()
        case "background-picture":
            return BackgroundMasks(plate="given")
        case "motion":
            return MotionMasks()
        case "chroma-key":
            return ChromaKeyMasks()
        case "graph-cut":
            return GraphCutMasks()
        case "provided":
            return ProvidedMasks()
        case _:
            assert_never(method)
