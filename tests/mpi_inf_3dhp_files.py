"""Small files in MPI-INF-3DHP's layout: a walker and a red chair in a green studio, fourteen cameras around them.

Everything is projected by OpenCV, with cameras that are told by where they stand and what they look at.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
from scipy.io import savemat

SIZE_PX = 160
NUM_FRAMES = 6
CHEST_CAMERAS = (0, 2, 4, 7, 8)
MARKED = "left_wrist"
MARK_RGB = (0, 0, 255)
_GREEN, _CHAIR, _SHIRT, _TROUSERS = (0, 177, 64), (150, 20, 30), (120, 120, 120), (90, 90, 60)
_STANDING_MM = {  # x to the walker's left, y up
    **{"pelvis": (0, 950, 0), "spine": (0, 1050, 0), "spine2": (0, 1150, 0), "spine3": (0, 1250, 0)},
    **{"spine4": (0, 1380, 0), "neck": (0, 1480, 0), "head": (0, 1600, 40), "head_top": (0, 1760, 0)},
    **{"left_clavicle": (60, 1420, 0), "left_shoulder": (180, 1400, 0), "left_elbow": (380, 1300, 0)},
    **{"left_wrist": (560, 1200, 0), "left_hand": (620, 1170, 0), "left_hip": (100, 930, 0)},
    **{"left_knee": (120, 500, 0), "left_ankle": (140, 90, 0), "left_foot": (145, 60, 80)},
    **{"left_toe": (150, 20, 160)},
}
JOINTS = (
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"),
    *(f"left_{part}" for part in ("clavicle", "shoulder", "elbow", "wrist", "hand")),
    *(f"right_{part}" for part in ("clavicle", "shoulder", "elbow", "wrist", "hand")),
    *(f"left_{part}" for part in ("hip", "knee", "ankle", "foot", "toe")),
    *(f"right_{part}" for part in ("hip", "knee", "ankle", "foot", "toe")),
)
TEST_JOINTS = (
    *("head_top", "neck"),
    *(f"{side}_{part}" for side in ("right", "left") for part in ("shoulder", "elbow", "wrist")),
    *(f"{side}_{part}" for side in ("right", "left") for part in ("hip", "knee", "ankle")),
    *("pelvis", "spine", "head"),
)
_LIMBS = [
    *(f"{side}_{a} {side}_{b}" for side in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))),
    *(f"{side}_{a} {side}_{b}" for side in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
    *("pelvis neck", "neck head_top", "left_shoulder right_shoulder", "left_hip right_hip"),
    *(f"{side}_shoulder {side}_hip" for side in ("left", "right")),
]


@dataclass(frozen=True)
class Viewpoint:
    """A camera as a person would describe it: millimetres, y up."""

    centre_mm: np.ndarray
    target_mm: np.ndarray
    focal_px: float
    principal_px: tuple[float, float]

    @property
    def rotation(self):
        forward = (self.target_mm - self.centre_mm) / np.linalg.norm(self.target_mm - self.centre_mm)
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def pixels(self, world_mm):
        """Where OpenCV sees points."""
        rotation = cv2.Rodrigues(self.rotation)[0]
        K = np.array([[self.focal_px, 0, self.principal_px[0]], [0, self.focal_px, self.principal_px[1]], [0, 0, 1.0]])
        points = np.asarray(world_mm, np.float64).reshape(-1, 3)
        found, _ = cv2.projectPoints(points, rotation, -self.rotation @ self.centre_mm, K, None)
        return found.reshape(*np.shape(world_mm)[:-1], 2)

    def in_camera(self, world_mm):
        return (np.asarray(world_mm) - self.centre_mm) @ self.rotation.T


def viewpoints():
    """Fourteen cameras in a ring, the first at the walker's front."""
    angles = np.arange(14) * 2 * np.pi / 14 + 0.1
    return [
        Viewpoint(
            centre_mm=np.array([4000 * np.sin(a), 1200.0 + 20 * i, 4000 * np.cos(a)]),
            target_mm=np.array([0.0, 900.0, 0.0]),
            focal_px=200.0 + i,
            principal_px=(79.0 + 0.5 * i, 81.0),
        )
        for i, a in enumerate(angles)
    ]


def walker_mm(frame):
    """The 28 joints in the world: one limb longer on the left, so that sides cannot be mistaken."""
    left = {name.removeprefix("left_"): xyz for name, xyz in _STANDING_MM.items() if name.startswith("left_")}
    joints = {**_STANDING_MM, **{f"right_{name}": (-0.8 * x, y, z) for name, (x, y, z) in left.items()}}
    standing_mm = np.array([joints[name] for name in JOINTS], np.float64)
    return standing_mm + frame * np.array([20.0, 0.0, 10.0])


def walker_mask(view, frame):
    return _walker(view, frame)[0]


def picture(view, frame):
    """The studio as a camera sees it; the chair stands before whatever it covers."""
    image = np.full((SIZE_PX, SIZE_PX, 3), _GREEN, np.uint8)
    mask, is_upper = _walker(view, frame)
    image[mask] = _TROUSERS
    image[mask & is_upper] = _SHIRT
    image[chair_mask(view)] = _CHAIR
    centre = view.pixels(walker_mm(frame)[JOINTS.index(MARKED)])
    cv2.circle(image, tuple(np.round(16 * centre).astype(int).tolist()), 48, MARK_RGB, -1, cv2.LINE_AA, shift=4)
    return image


def chair_mask(view):
    """A chair at the walker's right, apart from the walker."""
    box_mm = np.array([[-700 - 250 * i, 500 * j, 250 * k - 125] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(view.pixels(box_mm)).astype(np.int32)), 1)
    return mask.astype(bool)


def write_sequence(
    folder, *, start=0, num_frames=NUM_FRAMES, as_pictures=False, dark_on_bright=False, cameras=CHEST_CAMERAS
):
    """A training sequence whose first frame is ``start`` of the walk. ``dark_on_bright`` turns its masks over."""
    views, walk = viewpoints(), range(start, start + num_frames)
    for camera in cameras:
        view = views[camera]
        write = write_pictures if as_pictures else write_avi
        names = ("images", "masks", "chair_masks") if as_pictures else ("imageSequence", "FGmasks", "ChairMasks")
        ending = "" if as_pictures else ".avi"
        videos, masks, chairs = (folder / name / f"video_{camera}{ending}" for name in names)
        write(videos, [picture(view, step) for step in walk])
        write(masks, [_foreground(view, step, dark_on_bright) for step in walk])
        write(chairs, [_chair(view, dark_on_bright) for _ in walk])
    (folder / "camera.calibration").write_text(calibration_text(views))
    write_annot(folder / "annot.mat", np.stack([walker_mm(step) for step in walk]))
    return folder


def write_subject(root, subject="S7", start=0):
    """One sequence as videos, one taken apart into pictures, with its masks turned over."""
    write_sequence(root / subject / "Seq1", start=start)
    write_sequence(root / subject / "Seq2", start=start, as_pictures=True, dark_on_bright=True)


def write_release(root):
    """Somebody to train on, one of whose videos is known to be short, and somebody to test on."""
    write_subject(root, "S6", start=NUM_FRAMES)
    write_subject(root, "S7")


def calibration_text(views):
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number, view in enumerate(views):
        (cx, cy), f, R = view.principal_px, view.focal_px, view.rotation
        extrinsic = np.eye(4)
        extrinsic[:3, :3], extrinsic[:3, 3] = R, -R @ view.centre_mm
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            f"  size        {SIZE_PX} {SIZE_PX}",
            "  animated    0",
            f"  intrinsic   {f:.7g} 0 {cx:.7g} 0 0 {f:.7g} {cy:.7g} 0 0 0 1 0 0 0 0 1 ",
            f"  extrinsic   {' '.join(f'{value:.7g}' for value in extrinsic.ravel())} ",
            "  radial      0",
        ]
    return "\n".join(lines) + "\n"


def write_annot(path, world_mm, *, frames=None):
    """MATLAB 5 with a cell per camera, rows of x1, y1(, z1), x2, ... as the dataset has them."""
    annot2, annot3 = np.empty((14, 1), object), np.empty((14, 1), object)
    for camera, view in enumerate(viewpoints()):
        annot2[camera, 0] = view.pixels(world_mm).reshape(len(world_mm), -1)
        annot3[camera, 0] = view.in_camera(world_mm).reshape(len(world_mm), -1)
    frames = np.arange(len(world_mm)) if frames is None else frames
    content = {"annot2": annot2, "annot3": annot3, "univ_annot3": annot3 * 0.9}
    savemat(path, {**content, "cameras": np.arange(14, dtype=np.uint8)[None], "frames": np.reshape(frames, (-1, 1))})


def write_test_set(folder, *, sequences=("TS1",), num_frames=3):
    """The test set: 2048 x 2048 px in the studio, 1920 x 1080 px outdoors; the second frame is not valid."""
    utilities = folder / "test_util" / "camera_calibration"
    utilities.mkdir(parents=True)
    (utilities / "ts1-4cameras.calib").write_text(_calib(7.32506, (10, 10), (-0.0322884, 0.0929296)))
    (utilities / "ts5-6cameras.calib").write_text(_calib(8.770747185, (10, 5.625), (-0.104908645, 0.104899704)))
    joints_mm = np.stack(
        [walker_mm(frame)[[JOINTS.index(name) for name in TEST_JOINTS]] for frame in range(num_frames)]
    )
    camera_mm = joints_mm * (1, -1, -1) + (0, 900, 4000)  # from the front, standing at the height of 900 mm
    for sequence in sequences:
        outdoors = sequence in ("TS5", "TS6")
        width, height = (1920, 1080) if outdoors else (2048, 2048)
        images = []
        for pose in camera_mm:
            image = np.full((height, width, 3), 60, np.uint8)
            u, v = test_pixels(pose[TEST_JOINTS.index(MARKED)], outdoors=outdoors)
            cv2.circle(image, (round(16 * u), round(16 * v)), 16 * 12, MARK_RGB, -1, cv2.LINE_AA, shift=4)
            images.append(image)
        write_pictures(folder / sequence / "imageSequence", images, prefix="img")
        valid = np.ones((num_frames, 1))
        valid[1] = 0
        with h5py.File(folder / sequence / "annot_data.mat", "w", userblock_size=512) as file:
            file["annot3"], file["univ_annot3"], file["valid_frame"] = (
                camera_mm[:, None],
                0.9 * camera_mm[:, None],
                valid,
            )
    return folder


def test_pixels(point_mm, *, outdoors):
    """Where the test camera's lens throws a point, by millimetres on its sensor."""
    focal_mm, (width_mm, height_mm), offset_mm, (width, height) = (
        (8.770747185, (10, 5.625), (-0.104908645, 0.104899704), (1920, 1080))
        if outdoors
        else (7.32506, (10, 10), (-0.0322884, 0.0929296), (2048, 2048))
    )
    x_mm = focal_mm * point_mm[0] / point_mm[2] + offset_mm[0]
    y_mm = focal_mm * point_mm[1] / point_mm[2] + offset_mm[1]
    return (x_mm / width_mm + 0.5) * width, (y_mm / height_mm + 0.5) * height


test_pixels.__test__ = False


def write_avi(path: Path, images, *, rate=25):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=rate, options={"qmin": "1", "qmax": "1"})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuvj444p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_pictures(folder: Path, images, *, prefix="frame"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=1):
        name = str(folder / f"{prefix}_{number:06d}.jpg")
        assert cv2.imwrite(name, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 98])


def _walker(view, frame):
    """The mask of the walker, and what is above the hips."""
    points = dict(zip(JOINTS, np.round(view.pixels(walker_mm(frame))).astype(int), strict=True))
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    trunk = [points[f"{side}_{part}"] for side in ("left", "right") for part in ("shoulder", "hip")]
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array(trunk, np.int32)), 1)
    for limb in _LIMBS:
        a, b = (points[name].tolist() for name in limb.split())
        cv2.line(mask, a, b, 1, 7)
    return mask.astype(bool), np.arange(SIZE_PX)[:, None] < points["pelvis"][1]


def _foreground(view, frame, dark_on_bright):
    """Red: not green screen. Green and blue: the clothes."""
    mask, is_upper = _walker(view, frame)
    red = (mask | chair_mask(view)) ^ dark_on_bright
    return np.stack([red, mask & is_upper, mask & ~is_upper], axis=-1) * np.uint8(255)


def _chair(view, dark_on_bright):
    image = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    image[..., 0] = (chair_mask(view) ^ dark_on_bright) * np.uint8(255)
    return image


def _calib(focal_mm, sensor_mm, offset_mm):
    return (
        "tc camera calibration v0.3\n"
        "camera\t0\tstudio\n"
        "  frame\t0\n"
        f"  sensorSize\t{sensor_mm[0]}\t{sensor_mm[1]}\n"
        f"  focalLength\t{focal_mm}\n"
        "  pixelAspect\t1\n"
        f"  centerOffset\t{offset_mm[0]}\t{offset_mm[1]}\n"
        "  distortionModel\tOpenCV\n"
        "  distortion\t0 0 0 0 0\n"
        "  origin\t0\t0\t0\n"
        "  up\t0\t1\t0\n"
        "  right\t1\t0\t0\n"
    )
