"""Small recordings in exactly the layouts of Human3.6M's release and of its preprocessed copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import cdflib.cdfwrite
import cv2
import h5py
import numpy as np
from moving_square import write_video
from stick_people import looking_at_the_middle, picture, pose_mm

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
CENTRES_MM = np.array([[1840.0, 4960, 1560], [1760, -5080, 1610], [-1850, 5220, 1490], [-1790, -3720, 1570]])
INTRINSICS = np.array(
    [
        [1145.05, 1143.78, 512.54, 515.45, -0.2071, 0.2477, -0.0030, -0.00098, -0.00142],
        [1149.68, 1147.59, 508.85, 508.06, -0.1942, 0.2404, 0.0069, -0.00162, -0.0027],
        [1149.14, 1148.79, 519.82, 501.40, -0.2083, 0.2555, -0.0024, 0.0015, -0.0008],
        [1145.51, 1144.77, 514.97, 501.88, -0.1984, 0.2183, -0.0089, -0.0006, -0.0018],
    ]
)
NAMES: Mapping[tuple[str, int, int], str] = {
    ("S1", 1, 1): "_ALL 1",
    ("S1", 2, 1): "Directions 1",
    ("S1", 14, 2): "Walking",
    ("S9", 5, 2): "Greeting 1",
    ("S11", 2, 2): "Directions",
}
"""Subjects call the files of an action by different names."""
NUM_FRAMES = 8
_FINE_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 98, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
"""Colours as sharp as brightness, so that marks of one colour are found before a wall of another."""
JOINTS = {0: 0, 1: 1, 2: 2, 3: 3, 6: 4, 7: 5, 8: 6, 12: 7, 13: 8, 14: 9, 15: 10, 17: 11, 18: 12, 19: 13,
          25: 14, 26: 15, 27: 16}  # fmt: skip
"""Of the release's 32, and which of ours they are."""


def write_release(root: Path, *, subjects: tuple[str, ...] = ("S1", "S9", "S11")) -> Path:
    """Videos, masks, poses and metadata of some subjects; camera 3's videos run on for a frame."""
    _write_metadata(root / "metadata.xml")
    for (subject, action, repetition), name in NAMES.items():
        if subject not in subjects or action == 1:
            continue
        poses = np.stack([pose_mm(frame, turn=action + repetition) for frame in range(NUM_FRAMES)])
        for index, camera in enumerate(CAMERAS):
            if (subject, camera) == ("S11", CAMERAS[0]):
                continue  # damaged in the release
            _write_view(root / subject, f"{name}.{camera}", index, poses, extra=index == 2)
        _write_poses(root / subject / "MyPoseFeatures" / "D3_Positions" / f"{name}.cdf", poses)
    return root


def write_copy(root: Path) -> Path:
    """The preprocessed copy of the same recordings, before a green wall."""
    for (subject, action, repetition), _ in NAMES.items():
        poses = np.stack([pose_mm(frame, turn=action + repetition) for frame in range(NUM_FRAMES)])
        for index, camera in enumerate(CAMERAS):
            if action == 1 or (subject, camera) == ("S11", CAMERAS[0]):
                continue  # no recording, or damaged in the release
            name = f"s_{int(subject[1:]):02d}_act_{action:02d}_subact_{repetition:02d}_ca_{index + 1:02d}"
            _write_text(root / "annot" / name / "matlab_meta.txt", index, poses)
            _write_pictures(root / "images" / name, index, poses)
    return root


def project(points_mm: np.ndarray, index: int) -> np.ndarray:
    """As the release's own code projects: angles about x, y, z; centre; radial and tangential distortion."""
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = INTRINSICS[index]
    rotation = looking_at_the_middle(CENTRES_MM[index])
    x, y, z = rotation @ (points_mm - CENTRES_MM[index]).T
    x, y = x / z, y / z
    r2 = x**2 + y**2
    factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * y + p2 * x
    return np.stack([fx * (x * factor + p2 * r2) + cx, fy * (y * factor + p1 * r2) + cy], axis=-1)


def _write_view(folder: Path, name: str, index: int, poses: np.ndarray, *, extra: bool) -> None:
    width, height = SIZES[CAMERAS[index]]
    seen = [picture(pose, lambda points: project(points, index), width=width, height=height) for pose in poses]
    images = [image for image, _ in seen]
    write_video(folder / "Videos" / f"{name}.mp4", [*images, *images[-1:]] if extra else images, rate=50)
    path = folder / "MySegmentsMat" / "ground_truth_bs" / f"{name}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        references = np.empty((len(seen), 1), h5py.ref_dtype)
        for number, (_, mask) in enumerate(seen):
            references[number, 0] = file.create_dataset(f"#refs#/{number}", data=mask.T.astype(np.uint8)).ref
        file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)


def _write_poses(path: Path, poses: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pose_file(path, _everything(poses))


def _write_pictures(folder: Path, index: int, poses: np.ndarray) -> None:
    folder.mkdir(parents=True)
    width, height = SIZES[CAMERAS[index]]
    for frame, pose in enumerate(poses, start=1):
        image, mask = picture(pose, lambda points: project(points, index), width=width, height=height)
        image[~mask] = (20, 160, 30)
        path = folder / f"{folder.name}_{frame:06d}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _FINE_JPEG)


def _write_text(path: Path, index: int, poses: np.ndarray) -> None:
    rotation, intrinsics = looking_at_the_middle(CENTRES_MM[index]), INTRINSICS[index]
    lines = {
        "size": SIZES[CAMERAS[index]],
        "R": rotation.T.ravel(),
        "T": CENTRES_MM[index],
        "f": intrinsics[:2],
        "c": intrinsics[2:4],
        "k": intrinsics[4:7],
        "p": intrinsics[7:],
        "joints": [number + 1 for number in JOINTS],
        **{str(frame): numbers for frame, numbers in enumerate(_everything(poses), start=1)},
    }
    text = "".join(f"{word} {' '.join(repr(float(n)) for n in numbers)}\n" for word, numbers in lines.items())
    path.parent.mkdir(parents=True)
    path.write_text(f"{len(poses)}\n{text}")


def _everything(poses: np.ndarray) -> np.ndarray:
    """The 18 joints among the release's 32, frame by frame; the others hold what nobody should read."""
    everything = np.full((len(poses), 32, 3), 9e9)
    for theirs, ours in JOINTS.items():
        everything[:, theirs] = poses[:, ours]
    return everything.reshape(len(poses), 96)


def write_pose_file(path: Path, numbers: np.ndarray) -> Path:
    """Frames times what a frame has."""
    spec = {
        "Variable": "Pose",
        "Data_Type": 44,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(numbers.shape),
    }
    file = cdflib.cdfwrite.CDF(path, cdf_spec={"Compressed": 0}, delete=True)
    file.write_var(spec, var_data=numbers[None].astype(np.float32))
    file.close()
    return path


def _write_metadata(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subjects = [f"S{number}" for number in range(1, 12)]
    root = ElementTree.Element("metadata")
    mapping = ElementTree.SubElement(root, "mapping")
    _add_row(mapping, ["", "", *subjects])
    for action in range(1, 17):
        for repetition in (1, 2):
            names = [NAMES.get((subject, action, repetition), "") for subject in subjects]
            _add_row(mapping, [str(action), str(repetition), *names])
    _add_row(mapping, ["", "", *["[1002 1000; 1000 1000]" for _ in subjects]])  # sizes, in the release too
    extrinsics = [
        [*_angles(looking_at_the_middle(centre_mm)), *centre_mm] for centre_mm in CENTRES_MM for _ in subjects
    ]
    numbers = [*np.ravel(extrinsics), *np.ravel(INTRINSICS)]
    ElementTree.SubElement(root, "w0").text = f"[{' '.join(repr(float(number)) for number in numbers)}]"
    ElementTree.ElementTree(root).write(path)


def _add_row(mapping: ElementTree.Element, cells: list[str]) -> None:
    row = ElementTree.SubElement(mapping, "tr")
    for cell in cells:
        ElementTree.SubElement(row, "td").text = cell


def _angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """About x, y and z, such that the rotation is their product in this order."""
    return (
        float(np.arctan2(-rotation[1, 2], rotation[2, 2])),
        float(np.arcsin(rotation[0, 2])),
        float(np.arctan2(-rotation[0, 1], rotation[0, 0])),
    )
