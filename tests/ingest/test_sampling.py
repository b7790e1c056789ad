import numpy as np
import pytest

from mas_ray.config.ingest import DecodeLimits, FrameSampling
from mas_ray.ingest.sampling import sampled_frames


def steady(num, rate):
    return np.arange(num) / rate


def test_stride_and_limit():
    assert list(sampled_frames(FrameSampling(stride=3), steady(10, 25))) == [0, 3, 6, 9]
    assert list(sampled_frames(FrameSampling(stride=2, max_instants=2), steady(10, 25))) == [0, 2]


@pytest.mark.parametrize("rate", [25, 30, 60, 1000, 30000 / 1001])
@pytest.mark.parametrize("wanted", [1, 7.5, 10, 12.5, 24, 1e6])
def test_a_rate_takes_the_nearest_frames(rate, wanted):
    times_s = steady(400, rate)
    moments = np.arange(0, times_s[-1] * wanted + 1e-6) / wanted if wanted < rate else times_s
    nearest = np.abs(moments[:, None] - times_s).argmin(axis=1)
    chosen = list(sampled_frames(FrameSampling(frames_per_s=float(wanted)), times_s))
    assert chosen == sorted(set(chosen))
    assert len(chosen) - len(set(nearest.tolist())) in (0, 1)  # one moment may lie within the last frame
    distance_s = np.abs(moments[:, None] - times_s[chosen]).min(axis=1)
    np.testing.assert_allclose(distance_s, np.abs(moments - times_s[nearest]), atol=1e-6)


def test_a_rate_is_one_of_time_not_of_frames():
    times_s = np.array([0, 0.1, 0.2, 0.3, 0.4, 2.0, 2.1, 2.2, 2.3])  # a pause between 0.4 and 2.0
    assert list(sampled_frames(FrameSampling(frames_per_s=2.0), times_s)) == [0, 4, 5]
    assert list(sampled_frames(FrameSampling(frames_per_s=100.0), times_s)) == list(range(9))
    assert list(sampled_frames(FrameSampling(frames_per_s=5.0, max_instants=3), times_s)) == [0, 2, 4]


def test_ties_go_to_the_earlier_frame_always():
    chosen = np.array(sampled_frames(FrameSampling(frames_per_s=20.0), steady(3000, 30)))
    assert set(np.diff(chosen).tolist()) == {1, 2}
    np.testing.assert_array_equal(chosen[:2000] % 3, np.tile([0, 1], 1000))


def test_a_budget_is_spread_over_the_clip():
    assert list(sampled_frames(FrameSampling(num_spread=3), steady(21, 25))) == [0, 10, 20]
    assert list(sampled_frames(FrameSampling(num_spread=1), steady(21, 25))) == [0]
    assert list(sampled_frames(FrameSampling(num_spread=30), steady(4, 25))) == [0, 1, 2, 3]


@pytest.mark.parametrize("sampling", [FrameSampling(), FrameSampling(frames_per_s=5.0), FrameSampling(num_spread=5)])
def test_short_clips(sampling):
    assert list(sampled_frames(sampling, steady(1, 25))) == [0]
    assert list(sampled_frames(sampling, steady(0, 25))) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stride": 0}, "stride: expected at least 1"),
        ({"frames_per_s": 0.0}, "frames_per_s: expected more than 0"),
        ({"frames_per_s": float("nan")}, "frames_per_s: expected more than 0"),
        ({"num_spread": 0}, "num_spread: expected at least 1"),
        ({"stride": 2, "frames_per_s": 5.0}, "stride: expected one way to choose frames, got stride and frames_per_s"),
        ({"frames_per_s": 5.0, "num_spread": 9}, "got frames_per_s and num_spread"),
        ({"num_spread": 9, "max_instants": 5}, "max_instants: expected none beside num_spread"),
    ],
)
def test_what_excludes_one_another_is_said_in_a_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        FrameSampling(**fields)
    assert "\n" not in str(error.value)


def test_limits_are_positive():
    with pytest.raises(ValueError, match="max_frame_s: expected more than 0, got 0"):
        DecodeLimits(max_frame_s=0.0)
