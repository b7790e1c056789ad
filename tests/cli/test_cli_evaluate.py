from __future__ import annotations

import dataclasses

import pytest
from made_up_evaluation import made_up_evaluation

from mas_ray.cli.evaluate import run
from mas_ray.evaluation.protocol import PROTOCOL
from mas_ray.evaluation.record import (
    FORMAT,
    Accuracy,
    Evaluation,
    EvaluationSource,
    GroupError,
    KeypointErrors,
    PoseErrors,
    write_evaluation,
)
from mas_ray.geometry.chirality import KneeChirality
from mas_ray.pipelines import evaluate as pipeline


def _evaluation(*, triangulated: PoseErrors | None) -> Evaluation:
    return Evaluation(
        format=FORMAT,
        protocol=PROTOCOL,
        source=EvaluationSource(
            checkpoint="c",
            corpus="studio",
            split="test",
            reference="made up",
            num_frame_sets=8,
            num_without_reference=0,
            takes=("dance",),
            takes_also_trained_on=(),
            faults=(),
        ),
        ambiguity_ratio=0.0291,
        knee_chirality=None,
        knee_chirality_of_takes=KneeChirality(mean_mm=66.52, standard_error_mm=3.04, num_poses=40),
        accuracy_without_faults=(),
        paper=None,
        accuracy=(
            Accuracy(
                handling="oracle_pose",
                exchanged_fraction=0.0,
                triangulated=triangulated,
                monocular=None,
                keypoints=KeypointErrors(percent_of_crop=3.63, px=9.1, num_views=16),
                groups=(
                    GroupError(group="legs", triangulated_mm=61.04, monocular_mm=None, percent_of_crop=2.5),
                    GroupError(group="arms", triangulated_mm=None, monocular_mm=None, percent_of_crop=None),
                ),
                joints=(),
                actions=(),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("triangulated", "figures"),
    [
        (
            PoseErrors(
                mpjpe_mm=91.23,
                n_mpjpe_mm=88.0,
                p_mpjpe_mm=70.0,
                pck_150_percent=80.0,
                auc_150_percent=40.0,
                num_poses=8,
            ),
            ["91.2", "70.0"],
        ),
        (None, ["-", "-"]),
    ],
)
def test_the_errors_of_each_group_stand_beside_the_whole(triangulated, figures, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "evaluate", lambda job: _evaluation(triangulated=triangulated))
    argv = ["--checkpoint", "c", "--manifest", "m.json", "--annotations", "a", "--output", "out"]
    assert run(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    (header,) = [line for line in lines if "left and right" in line]
    (row,) = [line for line in lines if line.split()[0] == "oracle"]
    assert header.split()[3:] == ["MPJPE", "P-MPJPE", "1-view", "P-MPJPE", "2D", "legs", "2D", "arms", "2D"]
    assert row.split() == ["oracle", *figures, "-", "-", "3.63", "61.0", "2.50", "-", "-"]
    assert len(header) == len(row)
    assert "  ambiguity ratio r, before any handling: 0.029" in lines
    assert any(line.startswith("  knees bend forward by 66.5 ± 3.0 mm") for line in lines)


ARGV = ["--checkpoint", "c", "--manifest", "m.json", "--annotations", "a", "--output", "out"]


def _against(tmp_path, **changes):
    other = made_up_evaluation(mpjpe_mm=100.0)
    other = dataclasses.replace(other, **changes)
    write_evaluation(tmp_path / "other" / "evaluation.json", other)
    return ["--against", str(tmp_path / "other")]


def test_the_change_against_another_evaluation_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "evaluate", lambda job: made_up_evaluation(mpjpe_mm=90.0))
    assert run([*ARGV, *_against(tmp_path)]) == 0
    table = capsys.readouterr().out.partition("change against runs/it:\n")[2].splitlines()
    assert table[1].split() == ["raw", "-10.00", "+0.00", "+0.00", "+0.00", "+0.00"]


def test_figures_of_another_protocol_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "evaluate", lambda job: made_up_evaluation())
    with pytest.raises(ValueError, match=r"other: protocol: figures do not compare"):
        run([*ARGV, *_against(tmp_path, protocol="absolute")])


def test_what_is_not_there_to_compare_with_is_said_before_anything_is_predicted(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "evaluate", lambda job: pytest.fail("predicted"))
    with pytest.raises(ValueError, match="no such evaluation"):
        run([*ARGV, "--against", str(tmp_path / "nothing")])
