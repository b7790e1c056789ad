"""``mas-ray export``: a checkpoint's detector as ONNX and as a torch.export program, checked, with a model card."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor

import mas_ray
from mas_ray.batch import collate
from mas_ray.checkpoint import load_checkpoint
from mas_ray.config.jobs import ExportJob
from mas_ray.evaluation.record import read_evaluation
from mas_ray.inference import FrameSetEstimator
from mas_ray.models.picture_detector import OUTPUTS, Outputs, PictureDetector
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.progress import note
from mas_ray.reporting.model_card import ModelCard, model_card
from mas_ray.shards.location import location
from mas_ray.shards.manifest import Manifest, file_sha256, read_manifest
from mas_ray.shards.read import read_dataset

FORMAT = "mas-ray exported detector 1"
TOLERANCE = 1e-4
"""Of keypoints in NDC, depths as shares of the depth range, and confidences."""
_BATCH_SIZES = (1, 3, 16)
_NUM_PICTURES = 20
_EXAMPLE_SIZE = 2  # a batch of one would be taken for a constant
_ONNX, _PT2 = "model.onnx", "model.pt2"
_Pictures = Float[Tensor, "pictures 3 size size"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """How far an exported file's results are from our own, in units of ``TOLERANCE``'s."""

    file: str
    largest_difference: float
    num_pictures: int


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how it was checked."""

    files: tuple[str, ...]
    checks: tuple[Check, ...]


def export(job: ExportJob) -> Exported:
    """Run the job. Nothing is published unless both files agree with our own networks.

    Raises:
        ValueError: There is no such checkpoint, dataset or evaluation, the output is something else, or an exported
            file gives other results; the message says what.
    """
    output = Path(job.output)
    if output.exists() and not (output / "model.json").is_file():
        raise ValueError(f"{output}: is there already, and is no export")
    evaluation = None if job.evaluation is None else read_evaluation(Path(job.evaluation) / "evaluation.json")
    manifest = read_manifest(location(job.manifest))
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (name, folder):
        checkpoint = load_checkpoint(folder)
        estimator = FrameSetEstimator.load(folder)
        digest = file_sha256(folder / "model.pt")
    pictures = _pictures(job, manifest, estimator)
    detector = estimator.picture_detector()
    config = estimator.cascade.detector
    facts: dict[str, Any] = {
        "format": FORMAT,
        "checkpoint": name,
        "checkpoint_sha256": digest,
        "mas_ray": mas_ray.__version__,
        "input": {
            "image": f"float32 (pictures, 3, {config.input_size}, {config.input_size}): square crops around one "
            "person each, RGB, 0 to 1",
            "background": config.background,
        },
        "output": {
            "keypoints_ndc": "float32 (pictures, joints, 2): x right, y down, -1 and 1 at the crop's edges",
            "depth_mm": "float32 (pictures, joints): about the pelvis, away from the camera",
            "confidence": "float32 (pictures, joints): 0 to 1",
        },
        "joints": list(estimator.skeleton.joints),
    }
    partial = output.with_name(f"{output.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        program = torch.export.export(
            detector, (pictures[:_EXAMPLE_SIZE],), dynamic_shapes={"image": {0: torch.export.Dim("pictures", min=1)}}
        )
        torch.export.save(program, partial / _PT2)
        write_onnx(program, partial / _ONNX, facts)
        checks = tuple(
            Check(
                file=file,
                largest_difference=_largest_difference(file, detector, run, pictures, config.depth_range_mm),
                num_pictures=len(pictures),
            )
            for file, run in ((_PT2, _run_pt2(partial / _PT2)), (_ONNX, _run_onnx(partial / _ONNX)))
        )
        facts |= {
            "files": {file: file_sha256(partial / file) for file in (_ONNX, _PT2)},
            "largest_difference": {check.file: check.largest_difference for check in checks},
        }
        (partial / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        card = ModelCard(
            name=name,
            job=checkpoint.job,
            progress=checkpoint.progress,
            num_parameters=sum(parameter.numel() for parameter in detector.parameters()),
            checked_on=manifest.corpus,
            largest_difference=max(check.largest_difference for check in checks),
            evaluation=evaluation,
        )
        (partial / "README.md").write_text(model_card(card), encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(files=tuple(str(path) for path in sorted(output.iterdir())), checks=checks)


def _pictures(job: ExportJob, manifest: Manifest, estimator: FrameSetEstimator) -> _Pictures:
    """Crops of the dataset, as the networks are given them; of all its views."""
    rows = list(itertools.islice(read_dataset(location(job.manifest).parent, manifest), _NUM_PICTURES))
    if not rows:
        raise ValueError(f"{job.manifest}: no pictures to check the exported networks on")
    batch = collate(rows, manifest.view_slots, estimator.cascade)
    found = batch.image[batch.valid][:_NUM_PICTURES]
    # A dataset of one picture checks all batch sizes, too.
    return found.repeat(-(-_NUM_PICTURES // len(found)), 1, 1, 1)[:_NUM_PICTURES]


def write_onnx(program: torch.export.ExportedProgram, path: Path, facts: dict[str, Any]) -> None:
    """Write a ``PictureDetector``'s program as an ONNX file that carries some facts as its metadata."""
    with _quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["image"],
            output_names=list(OUTPUTS),
        )
    assert exported is not None
    model = exported.model_proto
    onnx.helper.set_model_props(
        model,
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()},
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """The exporter tells of every pass, on both streams."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _run_pt2(path: Path) -> Callable[[_Pictures], Outputs]:
    module = torch.export.load(path).module()
    return lambda pictures: module(pictures)


def _run_onnx(path: Path) -> Callable[[_Pictures], Outputs]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(pictures: _Pictures) -> Outputs:
        keypoints, depth, confidence = session.run(list(OUTPUTS), {"image": pictures.numpy()})
        return torch.from_numpy(keypoints), torch.from_numpy(depth), torch.from_numpy(confidence)

    return run


@torch.inference_mode()
def _largest_difference(
    file: str,
    detector: PictureDetector,
    run: Callable[[_Pictures], Outputs],
    pictures: _Pictures,
    depth_range_mm: float,
) -> float:
    """Over all pictures, in batches of several sizes; ``ValueError`` beyond the tolerance."""
    largest = 0.0
    for size in _BATCH_SIZES:
        for some in pictures.split(size):
            for name, ours, theirs in zip(OUTPUTS, detector(some), run(some), strict=True):
                unit = depth_range_mm if name == "depth_mm" else 1.0
                difference = (ours - theirs).abs().max().item() / unit
                if not difference <= TOLERANCE:
                    raise ValueError(
                        f"{file}: {name} differs by {difference:.1e} from our own networks in batches of {size}; at "
                        f"most {TOLERANCE:.0e} is allowed, and nothing was written"
                    )
                largest = max(largest, difference)
    note(f"export: {file} agrees within {largest:.1e}")
    return largest
