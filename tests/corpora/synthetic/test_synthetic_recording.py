from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import pytest

from mas_ray.annotations import read_reference
from mas_ray.corpora.folder import takes
from mas_ray.corpora.synthetic import recording as recording_module
from mas_ray.corpora.synthetic.config import SyntheticConfig
from mas_ray.corpora.synthetic.recording import Recording, frames, record, write_corpus
from mas_ray.corpora.take import Calibration
from mas_ray.skeleton import H36M_18

SMALL = SyntheticConfig(num_subjects=2, takes_per_subject=1, instants_per_take=6, width_px=160, height_px=128)
MANY = SyntheticConfig(num_subjects=4, takes_per_subject=7, instants_per_take=2, fps=1)


def _hue(rgb: np.ndarray) -> np.ndarray:
    """A colour but for its brightness."""
    return rgb / np.linalg.norm(rgb, axis=-1, keepdims=True)


class View(NamedTuple):
    recording: Recording
    calibration: Calibration
    instant: int
    image: np.ndarray
    mask: np.ndarray


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [record(MANY, s, t) for s in range(MANY.num_subjects) for t in range(MANY.takes_per_subject)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    config = SyntheticConfig(num_subjects=1, takes_per_subject=3, instants_per_take=12, write_masks=True)
    write_corpus(root, config)
    return root


def _digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _projected(calibration: Calibration, points_mm: np.ndarray) -> np.ndarray:
    rotation = cv2.Rodrigues(calibration.R)[0]
    points = points_mm.reshape(-1, 3)
    pixels = cv2.projectPoints(points, rotation, calibration.t_mm, calibration.K, calibration.distortion)[0]
    return pixels.reshape(*points_mm.shape[:-1], 2)


@pytest.fixture(scope="module")
def views(recordings: list[Recording]) -> list[View]:
    return [
        View(recording, calibration, instant, image, mask)
        for recording in recordings
        for name, calibration in recording.cameras.items()
        for instant, (image, mask) in enumerate(frames(recording, name))
    ]


def test_joints_lie_inside_the_exact_mask(views: list[View]):
    distances = []
    for recording, calibration, instant, _, mask in views:
        keypoints = np.rint(_projected(calibration, recording.body.joints_world_mm[instant])).astype(int)
        to_mask = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        distances.append(to_mask[keypoints[:, 1], keypoints[:, 0]])
    inside = np.array(distances) == 0
    assert inside.mean() > 0.995
    assert inside.mean(axis=0).min() > 0.95
    assert np.max(distances) <= 2


def test_people_fill_the_picture_and_are_never_cut_off(views: list[View]):
    heights = []
    for _, _, _, _, mask in views:
        assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
        heights.append(np.ptp(np.nonzero(mask.any(axis=1))[0]) + 1)
    assert 0.5 < np.median(heights) / MANY.height_px < 0.7


def test_headings_cover_the_circle(recordings: list[Recording]):
    forward = np.concatenate([recording.body.world_from_hips[:, :, 0] for recording in recordings])
    heading = np.arctan2(forward[:, 1], forward[:, 0])
    counts = np.histogram(heading, bins=8, range=(-np.pi, np.pi))[0]
    assert counts.min() >= 0.3 * counts.mean()


def test_wrists_are_often_outside_the_trunks_silhouette(recordings: list[Recording]):
    outside = []
    for recording in recordings:
        for calibration in recording.cameras.values():
            for keypoints in _projected(calibration, recording.body.joints_world_mm):
                at = {name: keypoints[i].astype(np.float32) for i, name in enumerate(H36M_18.joints)}
                corners = np.array([at[f"{s}_{j}"] for s in ("left", "right") for j in ("shoulder", "hip")])
                girth_px = 0.5 * np.linalg.norm(at["thorax"] - at["neck"]) + 12
                trunk = cv2.convexHull(corners)
                outside += [
                    cv2.pointPolygonTest(trunk, at[f"{side}_wrist"].tolist(), True) < -girth_px
                    for side in ("left", "right")
                ]
    assert np.mean(outside) >= 0.4


def test_a_face_is_where_the_nose_points_and_hair_where_it_does_not(views: list[View]):
    correct = []
    for recording, calibration, instant, image, _ in views:
        joints = recording.body.joints_world_mm[instant]
        nose, crown, neck = (joints[H36M_18.index(name)] for name in ("nose", "head", "neck"))
        axis = (crown - neck) / np.linalg.norm(crown - neck)
        ahead = (nose - neck) - ((nose - neck) @ axis) * axis
        towards_camera = -calibration.R.T @ calibration.t_mm - nose
        cosine = ahead @ towards_camera / np.linalg.norm(ahead) / np.linalg.norm(towards_camera)
        if abs(cosine) < 0.85:  # beyond, a cheek shows from behind
            continue
        u, v = np.rint(_projected(calibration, nose[None])[0]).astype(int)
        skin, hair = _hue(np.array([recording.appearance.skin, recording.appearance.hair]))
        is_face = _hue(image[v, u].astype(float)) @ (skin - hair) > 0
        correct.append(is_face == (cosine > 0))
    assert len(correct) > 50
    assert np.mean(correct) > 0.95


def test_the_shirt_front_shows_from_ahead_only(views: list[View]):
    shares = {True: [], False: []}
    for recording, calibration, instant, image, mask in views:
        ahead = recording.body.world_from_chest[instant, :, 0]
        towards_camera = -calibration.R.T @ calibration.t_mm - recording.body.joints_world_mm[instant, 7]
        cosine = ahead @ towards_camera / np.linalg.norm(towards_camera)
        if abs(cosine) > 0.8:
            shirt = _hue(np.array(recording.appearance.shirt))
            shares[cosine > 0].append((_hue(image[mask].astype(float)) @ shirt > 0.9998).mean())
    assert np.median(shares[True]) > 0.06
    assert np.median(shares[False]) < 0.02


def test_written_masks_agree_with_the_video_and_its_background(corpus: Path):
    for take in takes(corpus):
        for clip in take.clips:
            assert clip.calibration is not None
            assert clip.background is not None
            assert clip.masks is not None
            background = cv2.imread(clip.background)[..., ::-1].astype(int)
            with av.open(clip.video) as container:
                images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert len(images) == 12
            for instant, image in enumerate(images):
                assert image.shape == (clip.calibration.height_px, clip.calibration.width_px, 3)
                mask = cv2.imread(f"{clip.masks}/{instant:06d}.png", cv2.IMREAD_GRAYSCALE)
                assert set(np.unique(mask)) == {0, 255}
                differs = np.abs(image - background).max(axis=-1) > 24
                person = mask == 255
                assert (differs & person).sum() / (differs | person).sum() > 0.85
                assert np.abs(image - background)[~cv2.dilate(mask, np.ones((9, 9))).astype(bool)].mean() < 4


def test_the_corpus_reads_as_a_folder_of_takes_with_exact_reference_joints(corpus: Path):
    found = list(takes(corpus))
    assert [take.take_id for take in found] == ["s00_t00_stand", "s00_t01_walk", "s00_t02_raise"]
    assert [(take.subject, take.action) for take in found] == [("s00", a) for a in ("stand", "walk", "raise")]
    assert [clip.view for clip in found[0].clips] == ["cam01", "cam02", "cam03", "cam04"]
    assert found[1].reference is not None
    reference = read_reference(Path(found[1].reference))
    assert reference.source == "exact (synthetic)"
    np.testing.assert_array_equal(reference.instants, np.arange(12))
    config = SyntheticConfig(num_subjects=1, takes_per_subject=3, instants_per_take=12, write_masks=True)
    made = record(config, 0, 1)
    np.testing.assert_array_equal(reference.joints_world_mm, made.body.joints_world_mm)
    calibration = found[1].clips[2].calibration
    assert calibration is not None
    np.testing.assert_allclose(
        _projected(calibration, reference.joints_world_mm),
        _projected(made.cameras["cam03"], reference.joints_world_mm),
        atol=1e-6,
    )


def test_cameras_stand_around_the_person_and_look_at_it(recordings: list[Recording]):
    for recording in recordings:
        positions = np.array([-c.R.T @ c.t_mm for c in recording.cameras.values()])
        azimuth = np.unwrap(np.arctan2(positions[:, 1], positions[:, 0]))
        assert (np.abs(np.degrees(np.diff(azimuth)) - 90) < 20).all()
        assert ((np.linalg.norm(positions[:, :2], axis=1) >= 4000) & (positions[:, 2] >= 1200)).all()
        for camera in recording.cameras.values():
            np.testing.assert_allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-12)
            assert np.linalg.det(camera.R) == pytest.approx(1.0)
            up = camera.R @ [0.0, 0.0, 1.0]
            assert up[1] < -0.9  # image rows grow downwards


def test_equal_configs_give_equal_bytes_and_another_seed_other_people(tmp_path: Path):
    write_corpus(tmp_path / "a", SMALL)
    write_corpus(tmp_path / "b", SMALL)
    assert _digests(tmp_path / "a") == _digests(tmp_path / "b")
    other = SyntheticConfig(**{**{k: getattr(SMALL, k) for k in SMALL.__dataclass_fields__}, "seed": 1})
    write_corpus(tmp_path / "c", other)
    same = _digests(tmp_path / "a").items() & _digests(tmp_path / "c").items()
    assert {Path(name).name for name, _ in same} <= {"take.json"}


def test_an_interrupted_corpus_is_completed_and_finished_takes_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_corpus(tmp_path / "whole", SMALL)
    broken, write_reference = tmp_path / "broken", recording_module.write_reference

    def fails_on_the_second(path: Path, reference: object) -> None:
        if "s01" in str(path):
            raise KeyboardInterrupt
        write_reference(path, reference)

    with monkeypatch.context() as patch:
        patch.setattr(recording_module, "write_reference", fails_on_the_second)
        with pytest.raises(KeyboardInterrupt):
            write_corpus(broken, SMALL)
    assert [take.take_id for take in takes(broken)] == ["s00_t00_stand"]
    video = broken / "s00_t00_stand" / "videos" / "cam01.mp4"
    before = video.stat().st_mtime_ns
    progress: list[tuple[int, int]] = []
    write_corpus(broken, SMALL, progress=lambda done, total: progress.append((done, total)))
    assert progress == [(1, 2), (2, 2)]
    assert video.stat().st_mtime_ns == before
    assert _digests(broken) == _digests(tmp_path / "whole")
    (broken / "s00_t00_stand" / "take.json").unlink()
    video.write_bytes(b"half")
    write_corpus(broken, SMALL)
    assert _digests(broken) == _digests(tmp_path / "whole")


def test_a_folder_holds_one_config_only(tmp_path: Path):
    tiny = SyntheticConfig(num_subjects=1, takes_per_subject=1, instants_per_take=1, width_px=64, height_px=64)
    write_corpus(tmp_path, tiny)
    with pytest.raises(ValueError, match=r"synthetic\.json: this corpus was made with another config"):
        write_corpus(tmp_path, SMALL)


@pytest.mark.parametrize("field", ["num_subjects", "fps", "width_px", "height_px", "person_height_fraction"])
def test_impossible_configs_are_errors_that_name_the_field(field: str):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        SyntheticConfig(**{field: 0.0 if field == "person_height_fraction" else 0})
