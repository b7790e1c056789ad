"""A job as it travels to a cluster: checked before it leaves, carried in one environment variable, run by its verb.

The cluster has the code already, in its image or in the job's runtime environment, so nothing but the job's record
needs to travel; a Python file with a ``JOB`` is executed where it is written.
"""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from mas_ray import __version__
from mas_ray.config import codec
from mas_ray.config.jobs import (
    CollectedTablesJob,
    DemoJob,
    EvaluateJob,
    EvaluateMpiiJob,
    ExportJob,
    IngestJob,
    LearnJob,
    PredictJob,
    PredictVideosJob,
    ReportJob,
    SweepTablesJob,
    TablesJob,
    TrainJob,
)
from mas_ray.config.sweep import TuneJob

Job = (
    DemoJob
    | EvaluateJob
    | EvaluateMpiiJob
    | ExportJob
    | IngestJob
    | LearnJob
    | PredictJob
    | PredictVideosJob
    | ReportJob
    | CollectedTablesJob
    | SweepTablesJob
    | TablesJob
    | TrainJob
    | TuneJob
)

VERBS: Mapping[type, str] = {
    DemoJob: "demo",
    EvaluateJob: "evaluate",
    EvaluateMpiiJob: "evaluate",
    ExportJob: "export",
    IngestJob: "ingest",
    LearnJob: "learn",
    PredictJob: "predict",
    PredictVideosJob: "predict",
    ReportJob: "report",
    CollectedTablesJob: "tables",
    SweepTablesJob: "tables",
    TablesJob: "tables",
    TrainJob: "train",
    TuneJob: "tune",
}
"""The verb that runs each kind of job."""

RECORD = "MAS_RAY_JOB"
"""Environment variable with the record of a submitted job."""
AUTOSCALING = "MAS_RAY_AUTOSCALING"
"""Environment variable that says, if it is ``1``, that the cluster makes the nodes that a job asks for."""

_PLACES = frozenset(
    {
        "against",
        "annotations",
        "checkpoint",
        "checkpoints",
        "corpus_root",
        "evaluation",
        "initial",
        "manifest",
        "mpii",
        "output",
        "predictions",
        "root",
        "run",
        "single_view_manifest",
        "storage",
        "sweep",
        "videos",
        "weights",
        "work",
    }
)
"""Fields that name files or folders."""
_ANYWHERE = ("packaged", "models:/")
_LONGEST_NAME = 47  # what Kubernetes allows for a RayJob
_MOST_BYTES = 100_000  # Linux takes 128 KiB in one variable


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the environment variable holds."""

    job: Job
    code_version: str
    """Of mas-ray, where the job was submitted."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job that is ready to go."""

    name: str
    """What the cluster knows it by; each submission has its own."""
    job: Job
    autoscaling: bool = False
    """The cluster makes the nodes that are asked for: the job waits for them."""

    @property
    def verb(self) -> str:
        """The verb that runs it."""
        return VERBS[type(self.job)]

    @property
    def entrypoint(self) -> str:
        """The command to run on the cluster, quoted for a shell."""
        return shlex.join(["python", "-m", "mas_ray.cli.submitted", self.verb])

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the command reads."""
        record = codec.dumps(Record(job=self.job, code_version=__version__))
        record = record.replace("$", "\\u0024")  # Ray would put in the variables that a value names
        return {RECORD: record} | ({AUTOSCALING: "1"} if self.autoscaling else {})


def submission(job: Job, *, name: str | None = None, autoscaling: bool = False) -> Submission:
    """Make a job ready to go, under a name of its own.

    Raises:
        ValueError: The name is not one, or something in the job is not for other machines: a path that is relative,
            a password in an address, or more text than an environment variable takes.
    """
    _check_places(job)
    if name is None:
        name = f"{_slug(f'{VERBS[type(job)]}-{_subject(job)}')[: _LONGEST_NAME - 7].rstrip('-')}-{uuid.uuid4().hex[:6]}"
    elif name != _slug(name) or not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError(
            f"name: expected a letter and at most {_LONGEST_NAME - 1} more, digits and dashes, lower case, got {name!r}"
        )
    made = Submission(name=name, job=job, autoscaling=autoscaling)
    num_bytes = len(made.environment[RECORD].encode())
    if num_bytes > _MOST_BYTES:
        raise ValueError(f"the job's record has {num_bytes} bytes, and at most {_MOST_BYTES} travel")
    return made


def _check_places(job: Job) -> None:
    for path, value in _texts(job):
        if "://" in value:
            if urlsplit(value).password is not None:
                raise ValueError(
                    f"{path}: credentials in an address end up in the cluster's records; expected them in the "
                    "environment of its nodes"
                )
        elif _names_a_place(path) and not value.startswith(_ANYWHERE) and not Path(value).is_absolute():
            raise ValueError(
                f"{path}: {value!r} is relative to the folder you are in, which the cluster does not have; "
                "expected an absolute path that its nodes share, or a URI such as s3://bucket/folder"
            )


def _names_a_place(path: str) -> bool:
    return path.rstrip(".0123456789").rpartition(".")[2] in _PLACES


def _texts(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The strings in a job by their dotted paths."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _texts(getattr(value, field.name), f"{prefix}.{field.name}".lstrip("."))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{prefix}.{index}")
    elif isinstance(value, str):
        yield prefix, value


def _subject(job: Job) -> str:
    """What a job is about, for its name."""
    match job:
        case TrainJob():
            return job.name
        case TuneJob():
            return job.base.name
        case EvaluateJob() | EvaluateMpiiJob() | ExportJob() | PredictJob() | PredictVideosJob():
            return PurePosixPath(job.checkpoint).name
        case ReportJob():
            return PurePosixPath(job.run).name
        case _:
            return PurePosixPath(job.output).name


def _slug(text: str) -> str:
    """What of a text may stand in a name of Kubernetes."""
    return re.sub(r"^[^a-z]+", "", re.sub(r"[^a-z0-9]+", "-", text.lower())).strip("-")
