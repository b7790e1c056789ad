"""MPII: read as its users hand it on, cut as its protocol says, and measured by heads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from fresh_checkpoint import save_fresh
from mpii_files import NUM_PEOPLE, is_missing, joints_px, write_mpii

from mas_ray.annotations.mpii import JOINTS, read_mpii
from mas_ray.cli.main import main
from mas_ray.config.ingest import ChromaKeyMasks
from mas_ray.config.jobs import EvaluateMpiiJob
from mas_ray.evaluation.mpii import PckhFigures, pckh_figures, read_mpii_evaluation
from mas_ray.geometry.affine import apply_affine
from mas_ray.geometry.pixel_grid import ndc_from_pixel
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import evaluate_mpii as pipeline
from mas_ray.pipelines.evaluate_mpii import crop_from_picture, evaluate_mpii
from mas_ray.skeleton import H36M_18

OURS = [H36M_18.index(joint) for joint in JOINTS]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(save_fresh(tmp_path_factory.mktemp("model") / "checkpoint", seed=0))


def test_people_come_back(tmp_path):
    people = read_mpii(write_mpii(tmp_path))
    assert len(people) == NUM_PEOPLE
    for number, person in enumerate(people):
        assert person.picture == f"{number:09d}.jpg"
        np.testing.assert_array_equal(person.visible[OURS], ~is_missing(number))
        known = ~is_missing(number)
        np.testing.assert_allclose(person.joints_px[OURS][known], joints_px(number)[known])
        assert np.isnan(person.joints_px[~person.visible]).all()
        assert person.head_px == pytest.approx(12.0)
        assert person.height_px == 180.0
    assert not people[0].visible[[H36M_18.index("nose"), H36M_18.index("spine")]].any()


def test_the_square_is_the_protocols(tmp_path):
    person = read_mpii(write_mpii(tmp_path))[2]
    affine = crop_from_picture(person, 100)
    left, top = (np.array([0.5, 0.5]) - 1.0 - affine[:, 2]) / affine[0, 0]  # of the crop's edge
    right, bottom = (np.array([99.5, 99.5]) - affine[:, 2]) / affine[0, 0]
    assert right - left == pytest.approx(1.25 * 180)
    assert (left + right) / 2 == pytest.approx(person.centre_px[0])
    assert (top + bottom) / 2 == pytest.approx(person.centre_px[1] + 15 * 0.9)


class Truthful(FrameSetEstimator):
    """Finds the joints where the annotation has them, in whatever crops it is given, one after the other."""

    def __init__(self, people, swapped, cascade) -> None:
        self.cascade = cascade
        self.skeleton = H36M_18
        self._people = list(people)
        self._swapped = swapped
        self._next = 0

    def picture_detector(self):
        def detect(images: torch.Tensor):
            found = []
            for _ in range(len(images)):
                person = self._people[self._next]
                joints = torch.from_numpy(person.joints_px).nan_to_num(0.0)
                if self._next in self._swapped:
                    joints = joints[list(H36M_18.mirror_permutation)]
                self._next += 1
                crop = apply_affine(torch.from_numpy(crop_from_picture(person, 256)), joints)
                found.append(ndc_from_pixel(crop, 256).float())
            return torch.stack(found), None, None

        return detect


def evaluated(root: Path, tmp_path, monkeypatch, checkpoint, *, swapped=(), truthful_of=None, **changes):
    real = FrameSetEstimator.load
    people = read_mpii(root)

    class Estimator:
        @staticmethod
        def load(folder):
            found = people if truthful_of is None else [people[n] for n in truthful_of]
            return Truthful(found, swapped, real(folder).cascade)

    monkeypatch.setattr(pipeline, "FrameSetEstimator", Estimator)
    job = EvaluateMpiiJob(
        mpii=str(root),
        checkpoint=checkpoint,
        output=str(tmp_path / "out"),
        masks=ChromaKeyMasks(key_rgb=(90, 90, 90)),
        **changes,
    )
    monkeypatch.setattr(pipeline, "_masker", lambda job: lambda image: np.abs(image.astype(int) - 90).max(-1) > 20)
    return evaluate_mpii(job)


def test_predictions_that_equal_the_annotations(tmp_path, monkeypatch, checkpoint):
    evaluation = evaluated(write_mpii(tmp_path / "mpii"), tmp_path, monkeypatch, checkpoint)
    for figures in evaluation.figures:
        assert figures.pckh_percent == figures.pckh_of_found_percent == figures.pckh_all_joints_percent == 100.0
        assert {joint.joint for joint in figures.joints} == set(JOINTS)
    assert {joint.joint: joint.num_joints for joint in evaluation.figures[0].joints}["left_wrist"] == NUM_PEOPLE - 1
    assert evaluation.not_found == ()
    assert read_mpii_evaluation(tmp_path / "out" / "mpii.json") == evaluation


def test_sides_that_are_exchanged_cost_only_without_the_oracle(tmp_path, monkeypatch, checkpoint):
    evaluation = evaluated(write_mpii(tmp_path / "mpii"), tmp_path, monkeypatch, checkpoint, swapped=(0, 3))
    assert evaluation.under("oracle_pose").pckh_percent == 100.0
    assert evaluation.under("oracle_pose").exchanged_fraction == pytest.approx(2 / 5)
    assert evaluation.under("raw").pckh_percent < 80.0


def test_who_was_not_found_counts_as_wrong_and_is_counted(tmp_path, monkeypatch, checkpoint):
    root = write_mpii(tmp_path / "mpii")
    (root / "images" / f"{1:09d}.jpg").unlink()
    (root / "images" / f"{2:09d}.jpg").write_bytes(b"no picture")
    evaluation = evaluated(root, tmp_path, monkeypatch, checkpoint, truthful_of=(0, 3, 4))
    found = [(each.reason, each.num_people) for each in evaluation.not_found]
    assert found == [("missing_picture", 1), ("unreadable_picture", 1)]
    raw = evaluation.under("raw")
    assert raw.pckh_of_found_percent == 100.0
    assert raw.pckh_percent == pytest.approx(100 * 3 * 14 / (4 * 14 + 12))


def figures_of(shift_px: float) -> PckhFigures:
    joints = torch.from_numpy(np.stack([joints_px(n) for n in range(2)]))
    reference = torch.full((2, 18, 2), torch.nan, dtype=torch.float64)
    reference[:, OURS] = joints
    visible = reference.isfinite().all(-1)
    shifted = reference.nan_to_num(0.0) + torch.tensor([shift_px, 0.0], dtype=torch.float64)
    return pckh_figures(shifted, reference, visible, torch.tensor([12.0, 24.0], dtype=torch.float64), H36M_18)[0]


@pytest.mark.parametrize(("shift_px", "expected"), [(0.0, 100.0), (6.0, 100.0), (6.5, 50.0), (12.5, 0.0)])
def test_half_a_head_is_the_bound(shift_px, expected):
    assert figures_of(shift_px).pckh_percent == expected


def test_it_runs_with_real_networks_from_the_command_line(tmp_path, checkpoint, capsys, monkeypatch):
    root = write_mpii(tmp_path / "mpii")
    monkeypatch.setattr(pipeline, "_masker", lambda job: lambda image: np.ones(image.shape[:2], bool))
    argv = ["evaluate", "--mpii", str(root), "--checkpoint", checkpoint, "--output", str(tmp_path / "out")]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "5 people of MPII's validation set" in out
    assert "right ankle" in out
    found = read_mpii_evaluation(tmp_path / "out" / "mpii.json")
    assert 0.0 <= found.under("raw").pckh_percent <= found.under("oracle_pose").pckh_percent <= 100.0


def damage_json(root: Path) -> None:
    (root / "annot" / "valid.json").write_text('[{"image": "a.jpg"')


def drop_field(root: Path) -> None:
    entries = json.loads((root / "annot" / "valid.json").read_text())
    del entries[3]["scale"]
    (root / "annot" / "valid.json").write_text(json.dumps(entries))


def lead_out(root: Path) -> None:
    entries = json.loads((root / "annot" / "valid.json").read_text())
    entries[0]["image"] = "../../secret.jpg"
    (root / "annot" / "valid.json").write_text(json.dumps(entries))


def cut_off(root: Path) -> None:
    path = root / "annot" / "gt_valid.mat"
    path.write_bytes(path.read_bytes()[:200])


def other_people(root: Path) -> None:
    content = scipy.io.loadmat(root / "annot" / "gt_valid.mat")
    content["headboxes_src"] = content["headboxes_src"][..., :3]
    scipy.io.savemat(root / "annot" / "gt_valid.mat", {k: v for k, v in content.items() if not k.startswith("_")})


def lose_heads(root: Path) -> None:
    (root / "annot" / "gt_valid.mat").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage_json, r"valid\.json: not valid JSON"),
        (drop_field, r"valid\.json: person 3: image, joints, center, scale: KeyError\('scale'\)"),
        (lead_out, r"valid\.json: person 0: image: expected the name of a picture"),
        (cut_off, r"gt_valid\.mat: not a readable MATLAB file"),
        (other_people, r"gt_valid\.mat: headboxes_src, jnt_missing: expected those of the 5 people of valid\.json"),
        (
            lambda root: (root / "annot" / "gt_valid.mat").unlink(),
            r"annot: expected gt_valid\.mat or mpii_gt_valid\.mat",
        ),
    ],
)
def test_files_that_are_not_mpiis(tmp_path, harm, message):
    root = write_mpii(tmp_path)
    harm(root)
    with pytest.raises(ValueError, match=message):
        read_mpii(root)


def test_pictures_are_sought_before_anything_runs(tmp_path, checkpoint):
    root = write_mpii(tmp_path)
    (root / "images").rename(root / "pictures")
    with pytest.raises(ValueError, match=r"images: expected MPII's pictures here"):
        evaluate_mpii(EvaluateMpiiJob(mpii=str(root), checkpoint=checkpoint, output=str(tmp_path / "out")))
    assert cv2.imread(str(root / "pictures" / "000000000.jpg")) is not None
