import numpy as np
import pytest
from moving_scene import brighter, scene

from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.survey import survey_clip

A, B = scene(30, background=1), scene(30, background=2)
BLACK = np.zeros_like(A[0])


def _survey(frames, wanted=None, **config):
    wanted = range(len(frames)) if wanted is None else wanted
    return survey_clip(enumerate(frames), wanted, num_frames=len(frames), config=CurationConfig(**config))


def test_a_good_clip_is_kept_whole():
    survey = _survey(A)
    assert survey.shots == (tuple(range(30)),)
    assert survey.reasons == {}
    assert survey.verdict is None
    assert survey.movement


def test_cuts_split_and_every_frame_left_out_has_a_reason():
    flash = [brighter(frame, 120) for frame in A[10:12]]
    frames = [*A[:10], *flash, *A[12:20], *A[19:20] * 3, *B[:4], BLACK, BLACK]
    survey = _survey(frames)
    assert survey.shots == ((*range(10), *range(12, 20)),)
    assert survey.reasons == {
        **dict.fromkeys((10, 11), "flash"),
        **dict.fromkeys((20, 21, 22), "repeated"),
        **dict.fromkeys((23, 24, 25, 26), "short_shot"),
        **dict.fromkeys((27, 28), "blank"),
    }


def test_two_shots():
    assert [shot[0] for shot in _survey(A + B).shots] == [0, 30]


def test_only_wanted_frames_are_judged():
    survey = _survey([*A, BLACK, BLACK, BLACK], range(0, 33, 3))
    assert survey.shots == (tuple(range(0, 30, 3)),)
    assert survey.reasons == {30: "blank"}


def test_frames_that_do_not_decode_are_no_concern():
    survey = survey_clip(
        ((i, frame) for i, frame in enumerate(A) if i != 7), range(30), num_frames=30, config=CurationConfig()
    )
    assert survey.shots == ((*range(7), *range(8, 30)),)
    assert 7 not in survey.reasons


@pytest.mark.parametrize(
    ("frames", "verdict"),
    [([A[0]] * 30, "static"), ([BLACK] * 30, "blank"), (A[:3], "too_few_frames"), ([], "too_few_frames")],
    ids=["static", "blank", "short", "empty"],
)
def test_verdicts(frames, verdict):
    survey = _survey(frames)
    assert survey.verdict == verdict
    assert survey.shots == ()
