"""What the people look like: flesh and clothes of round cones on a posed body.

Front and back differ plainly (face, hair, an open jacket, feet); left and right are alike in everything but pose.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mas_ray.corpora.synthetic.body import SIDES, PosedBody, Proportions, nose_in_head
from mas_ray.corpora.synthetic.config import FrontCue
from mas_ray.corpora.synthetic.rasteriser import RoundCones
from mas_ray.skeleton import H36M_18

_Rgb = tuple[float, float, float]
_Vector = Float64[np.ndarray, " 3"]

_SKINS: tuple[_Rgb, ...] = ((0.93, 0.76, 0.66), (0.85, 0.65, 0.52), (0.70, 0.50, 0.38), (0.54, 0.37, 0.27))
_HAIRS: tuple[_Rgb, ...] = ((0.08, 0.07, 0.07), (0.20, 0.12, 0.08), (0.30, 0.18, 0.09))
_EYE: _Rgb = (0.06, 0.06, 0.09)
_LIPS: _Rgb = (0.62, 0.22, 0.22)


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Colours (0 to 1) and cuts of one person's clothes in one take."""

    skin: _Rgb
    hair: _Rgb
    jacket: _Rgb
    shirt: _Rgb
    """Shows in front, where the jacket is open, and as the collar."""
    trousers: _Rgb
    shoes: _Rgb
    jacket_is_open: bool
    """Wide open, or all but closed."""
    has_long_sleeves: bool
    has_long_legs: bool


def random_appearance(rng: np.random.Generator, *, front_cue: FrontCue) -> Appearance:
    """Clothes at random. The shirt is much lighter than the jacket; if the cue is hard, it may be much darker."""
    jacket_is_light = bool(rng.integers(2)) and front_cue == "hard"
    light, dark = (0.72, 0.95), (0.22, 0.42)
    return Appearance(
        skin=_SKINS[rng.integers(len(_SKINS))],
        hair=_HAIRS[rng.integers(len(_HAIRS))],
        jacket=_dye(rng, light if jacket_is_light else dark),
        shirt=_dye(rng, dark if jacket_is_light else light),
        trousers=_dye(rng, (0.2, 0.7)),
        shoes=_dye(rng, (0.1, 0.9)),
        jacket_is_open=front_cue == "easy",
        has_long_sleeves=bool(rng.uniform() < 0.6),
        has_long_legs=bool(rng.uniform() < 0.75),
    )


def figure(body: PosedBody, proportions: Proportions, appearance: Appearance) -> RoundCones:
    """The drawn person of a body at one instant, world frame."""
    shapes = _Shapes(proportions.head_mm)
    joints = {name: body.joints_world_mm[i] for i, name in enumerate(H36M_18.joints)}
    _add_trunk(shapes, joints, body, proportions, appearance)
    _add_head(shapes, joints["neck"], body.world_from_head, proportions, appearance)
    for side, i, _ in SIDES:
        _add_arm(shapes, joints, side, body.fingertips_world_mm[i], proportions.girth, appearance)
        _add_leg(shapes, joints, side, body.toes_world_mm[i], proportions.girth, appearance)
    return shapes.cones()


class _Shapes:
    """Gathers round cones whose radii are given in head heights."""

    def __init__(self, head_mm: float) -> None:
        self._head_mm = head_mm
        self._rows: list[tuple[_Vector, _Vector, float, float, _Rgb]] = []

    def add(self, start: _Vector, end: _Vector, radii: tuple[float, float], rgb: _Rgb) -> None:
        self._rows.append((start, end, radii[0] * self._head_mm, radii[1] * self._head_mm, rgb))

    def cones(self) -> RoundCones:
        start, end, start_radius, end_radius, rgb = zip(*self._rows, strict=True)
        return RoundCones(
            start_mm=np.stack(start),
            end_mm=np.stack(end),
            start_radius_mm=np.array(start_radius),
            end_radius_mm=np.array(end_radius),
            rgb=np.array(rgb),
        )


def _add_trunk(
    shapes: _Shapes, joints: dict[str, _Vector], body: PosedBody, p: Proportions, appearance: Appearance
) -> None:
    def in_chest(x: float, y: float, z: float) -> _Vector:
        """A point in head heights from the pelvis, chest axes."""
        return joints["pelvis"] + body.world_from_chest @ np.array([x, y, z]) * p.head_mm

    girth, top = p.girth, p.trunk
    half_width = p.shoulder_half_width
    shapes.add(joints["left_hip"], joints["right_hip"], (0.44 * girth, 0.44 * girth), appearance.trousers)
    for side, _, sign in SIDES:
        chest, waist = in_chest(0.0, sign * 0.45 * half_width, top - 0.36), in_chest(0.0, sign * 0.26, 0.95)
        shapes.add(chest, waist, (0.42 * girth, 0.35 * girth), appearance.jacket)
        shapes.add(waist, in_chest(0.0, sign * 0.30, 0.18), (0.35 * girth, 0.40 * girth), appearance.jacket)
        shapes.add(in_chest(0.0, 0.0, top + 0.1), joints[f"{side}_shoulder"], (0.26, 0.25), appearance.jacket)
        # Half of the shirt front, proud of the jacket.
        ahead, aside, radius = (0.21, 0.17, 0.31) if appearance.jacket_is_open else (0.37, 0.0, 0.15)
        shapes.add(
            in_chest(ahead, sign * aside, top - 0.34),
            in_chest(ahead - 0.02, sign * aside, 0.25),
            (radius * girth, radius * girth),
            appearance.shirt,
        )
    shapes.add(
        in_chest(0.0, 0.0, top - 0.36), in_chest(0.0, 0.0, 0.25), (0.43 * girth, 0.39 * girth), appearance.jacket
    )


def _add_head(
    shapes: _Shapes, neck: _Vector, world_from_head: Float64[np.ndarray, "3 3"], p: Proportions, appearance: Appearance
) -> None:
    size = p.head

    def in_head(x: float, y: float, z: float) -> _Vector:
        """A point relative to the root of the neck, head axes; the crown is at z = 1."""
        return neck + world_from_head @ np.array([x, y, z]) * size * p.head_mm

    def add(start: _Vector, end: _Vector, radii: tuple[float, float], rgb: _Rgb) -> None:
        shapes.add(start, end, (radii[0] * size, radii[1] * size), rgb)

    nose = neck + world_from_head @ nose_in_head(p) * p.head_mm
    add(neck, neck, (0.24, 0.24), appearance.shirt)
    add(neck, in_head(0.04, 0.0, 0.35), (0.22, 0.20), appearance.skin)
    add(in_head(0.045, 0.0, 0.64), in_head(0.135, 0.0, 0.34), (0.335, 0.22), appearance.skin)
    add(in_head(-0.035, 0.0, 0.71), in_head(-0.065, 0.0, 0.60), (0.345, 0.345), appearance.hair)
    add(in_head(-0.12, 0.0, 0.55), in_head(-0.13, 0.0, 0.22), (0.27, 0.18), appearance.hair)
    add(in_head(0.33, 0.0, 0.60), nose, (0.03, 0.06), appearance.skin)
    add(in_head(0.30, 0.065, 0.31), in_head(0.30, -0.065, 0.31), (0.04, 0.04), _LIPS)
    for _, _, sign in SIDES:
        eye = in_head(0.32, sign * 0.13, 0.60)
        add(eye, eye, (0.06, 0.06), _EYE)


def _add_arm(
    shapes: _Shapes, joints: dict[str, _Vector], side: str, fingertips: _Vector, girth: float, appearance: Appearance
) -> None:
    shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
    sleeve = appearance.jacket if appearance.has_long_sleeves else appearance.skin
    shapes.add(shoulder, elbow, (0.25 * girth, 0.18 * girth), appearance.jacket)
    shapes.add(elbow, wrist, (0.175 * girth, 0.125 * girth), sleeve)
    shapes.add(wrist + 0.25 * (fingertips - wrist), fingertips, (0.15, 0.10), appearance.skin)


def _add_leg(
    shapes: _Shapes, joints: dict[str, _Vector], side: str, toes: _Vector, girth: float, appearance: Appearance
) -> None:
    hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    calf, leg = knee + 0.28 * (ankle - knee), appearance.trousers if appearance.has_long_legs else appearance.skin
    shapes.add(hip, knee, (0.40 * girth, 0.26 * girth), appearance.trousers)
    shapes.add(knee, calf, (0.245 * girth, 0.25 * girth), leg)
    shapes.add(calf, ankle, (0.25 * girth, 0.16 * girth), leg)
    shapes.add(ankle, toes, (0.20, 0.14), appearance.shoes)


def _dye(rng: np.random.Generator, value: tuple[float, float]) -> _Rgb:
    """A colour of any hue with a brightness in the given range."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.35, 0.9), rng.uniform(*value))
