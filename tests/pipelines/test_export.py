"""What leaves the project gives what stays: both files against the networks themselves, or nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fresh_checkpoint import save_fresh
from made_up_evaluation import made_up_evaluation

from mas_ray.batch import collate
from mas_ray.cli.main import main
from mas_ray.config.jobs import ExportJob
from mas_ray.evaluation.record import write_evaluation
from mas_ray.inference import FrameSetEstimator
from mas_ray.models.picture_detector import OUTPUTS
from mas_ray.pipelines import export as pipeline
from mas_ray.pipelines.export import export
from mas_ray.shards.manifest import file_sha256, read_manifest
from mas_ray.shards.read import read_dataset
from mas_ray.skeleton import H36M_18


@pytest.fixture(scope="module")
def job(tmp_path_factory, tiny_dataset) -> ExportJob:
    folder = tmp_path_factory.mktemp("export")
    write_evaluation(folder / "evaluation" / "evaluation.json", made_up_evaluation())
    job = ExportJob(
        checkpoint=str(save_fresh(folder / "checkpoint", seed=0)),
        manifest=str(tiny_dataset.manifest),
        output=str(folder / "exported"),
        evaluation=str(folder / "evaluation"),
    )
    exported = export(job)
    assert [Path(path).name for path in exported.files] == ["README.md", "model.json", "model.onnx", "model.pt2"]
    assert [check.file for check in exported.checks] == ["model.pt2", "model.onnx"]
    assert all(check.largest_difference <= 1e-4 for check in exported.checks)
    return job


def pictures(job: ExportJob, estimator: FrameSetEstimator):
    manifest = read_manifest(Path(job.manifest))
    rows = [row for row, _ in zip(read_dataset(Path(job.manifest).parent, manifest), range(2), strict=False)]
    return collate(rows, manifest.view_slots, estimator.cascade)


@pytest.mark.parametrize("exchange_sides", [False, True])
def test_the_picture_detector_is_what_detects_in_single_views(job, exchange_sides):
    """The one by plain operations, and with left and right as the checkpoint's bit says."""
    estimator = FrameSetEstimator.load(Path(job.checkpoint))
    if exchange_sides:
        estimator._order = list(H36M_18.mirror_permutation)
    batch = pictures(job, estimator)
    batch.calibrated[:] = False
    expected = estimator.detect(batch)
    with torch.no_grad():
        found = dict(zip(OUTPUTS, estimator.picture_detector()(batch.image.flatten(0, 1)), strict=True))
    torch.testing.assert_close(found["keypoints_ndc"], expected.keypoints_ndc.flatten(0, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        found["depth_mm"],
        expected.depth_ndc.flatten(0, 1) * estimator.cascade.detector.depth_range_mm,
        atol=1e-2,
        rtol=0,
    )
    torch.testing.assert_close(found["confidence"], expected.confidence.flatten(0, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("num", [1, 2, 7])
def test_onnx_runs_elsewhere_at_any_batch_size(job, num):
    session = onnxruntime.InferenceSession(str(Path(job.output) / "model.onnx"))
    estimator = FrameSetEstimator.load(Path(job.checkpoint))
    image = pictures(job, estimator).image.flatten(0, 1)[:num]
    with torch.no_grad():
        expected = estimator.picture_detector()(image)
    for name, ours, theirs in zip(OUTPUTS, expected, session.run(list(OUTPUTS), {"image": image.numpy()}), strict=True):
        unit = estimator.cascade.detector.depth_range_mm if name == "depth_mm" else 1.0
        np.testing.assert_allclose(theirs / unit, ours.numpy() / unit, atol=1e-4)
    program = torch.export.load(Path(job.output) / "model.pt2").module()
    for ours, theirs in zip(expected, program(image), strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def test_the_files_say_what_they_are(job):
    facts = json.loads((Path(job.output) / "model.json").read_text())
    assert facts["checkpoint_sha256"] == file_sha256(Path(job.checkpoint) / "model.pt")
    assert facts["joints"] == list(H36M_18.joints)
    assert facts["files"]["model.onnx"] == file_sha256(Path(job.output) / "model.onnx")
    properties = {item.key: item.value for item in onnx.load(Path(job.output) / "model.onnx").metadata_props}
    assert json.loads(properties["joints"]) == list(H36M_18.joints)
    assert properties["checkpoint_sha256"] == facts["checkpoint_sha256"]
    card = (Path(job.output) / "README.md").read_text()
    evaluation = made_up_evaluation()
    assert f"{evaluation.source.num_frame_sets} frame sets of the {evaluation.source.split} split" in card
    assert evaluation.protocol in card
    assert "labels | none" in card


def test_the_example_of_the_card_runs(job, monkeypatch):
    monkeypatch.chdir(job.output)
    code = Path("README.md").read_text().partition("```python\n")[2].partition("```")[0]
    variables: dict = {}
    exec(code, variables)
    assert variables["keypoints_px"].shape == (1, 18, 2)


def test_other_results_are_not_published(job, tmp_path, monkeypatch, capsys):
    right = pipeline._run_onnx

    def wrong(path):
        run = right(path)
        return lambda image: tuple(found + 2e-4 for found in run(image))

    monkeypatch.setattr(pipeline, "_run_onnx", wrong)
    argv = ["export", "--checkpoint", job.checkpoint, "--manifest", job.manifest, "--output", str(tmp_path / "out")]
    assert main(argv) == 1
    assert "model.onnx: keypoints_ndc differs by 2.0e-04" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_stays(job, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    argv = ["export", "--checkpoint", job.checkpoint, "--manifest", job.manifest, "--output", str(tmp_path / "out")]
    assert main(argv) == 1
    assert "out: is there already, and is no export" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.tex").exists()
