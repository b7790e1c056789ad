from mas_ray.config.ingest import CurationConfig
from mas_ray.ingest.curation.clip_score import ClipScore, FrameScore, reject_reason, score_clip


def _frames(num):
    return [FrameScore(overlap=None if i == 0 else 0.8, sharpness=0.1 * i, area_fraction=0.2) for i in range(num)]


def test_figures():
    assert score_clip(9, _frames(3)) == ClipScore(
        num_frames=9, num_kept=3, mean_overlap=0.8, median_sharpness=0.1, median_area_fraction=0.2
    )
    assert score_clip(4, []) == ClipScore(
        num_frames=4, num_kept=0, mean_overlap=None, median_sharpness=None, median_area_fraction=None
    )


def test_too_few_frames():
    config = CurationConfig(min_frames=3)
    assert reject_reason(score_clip(9, _frames(2)), config) == "too_few_frames"
    assert reject_reason(score_clip(9, _frames(3)), config) is None
