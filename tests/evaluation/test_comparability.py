from __future__ import annotations

import dataclasses

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.evaluation.comparability import check_comparable


def test_another_checkpoint_on_the_same_frame_sets_compares():
    one = made_up_evaluation(mpjpe_mm=90.0)
    other = made_up_evaluation(mpjpe_mm=80.0)
    other = dataclasses.replace(other, source=dataclasses.replace(other.source, checkpoint="runs/that"))
    check_comparable(one, other, "that")


def test_another_protocol_does_not():
    one = made_up_evaluation()
    other = dataclasses.replace(one, protocol="MPJPE without any alignment")
    with pytest.raises(
        ValueError, match=r"^that: protocol: figures do not compare; expected .Every .*\.\.\., got 'MPJPE"
    ):
        check_comparable(one, other, "that")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("corpus", "street"),
        ("split", "train"),
        ("reference", "another"),
        ("takes", ("dance", "walk")),
        ("num_frame_sets", 9),
    ],
)
def test_other_frame_sets_or_another_reference_do_not(field, value):
    one = made_up_evaluation()
    other = dataclasses.replace(one, source=dataclasses.replace(one.source, **{field: value}))
    with pytest.raises(ValueError, match=rf"^that: {field}: figures do not compare"):
        check_comparable(one, other, "that")
