from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mas_ray.corpora.trc import read_trc


def _text(*, units: str = "m", last_row: str = "2\t0.2\t7\t8\t9\t10\t11\t12") -> str:
    return (
        "PathFileType\t4\t(X/Y/Z)\tx.trc\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n"
        f"60\t60\t2\t2\t{units}\n"
        "Frame#\tTime\tRHip\t\t\tNeck\t\t\n"
        "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
        "1\t0.1\t1\t2\t3\t4\t5\t6\t\n"
        f"{last_row}\n\n"
    )


def test_reads_markers_frame_numbers_and_positions(tmp_path: Path) -> None:
    path = tmp_path / "x.trc"
    path.write_text(_text())
    trc = read_trc(path)
    assert trc.markers == ("RHip", "Neck")
    assert trc.frame_numbers.tolist() == [1, 2]
    np.testing.assert_array_equal(trc.positions_m[1], [[7, 8, 9], [10, 11, 12]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (_text(units="mm"), "Units: expected 'm', got 'mm'"),
        (_text(last_row="2\t0.2\t7\t8"), "expected 8 numbers"),
        (_text(last_row="2\t0.2\t7\t8\t9\t10\tnear\t12"), "expected 8 numbers"),
        ("PathFileType\n", "expected 5 header lines"),
    ],
)
def test_names_the_file_and_what_was_expected(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.trc"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_trc(path)
    assert str(path) in str(caught.value)
