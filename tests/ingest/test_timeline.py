from fractions import Fraction

import numpy as np

from mas_ray.ingest.timeline import timeline_of

MS = Fraction(1, 1000)


def numbers(timeline, decoded):
    found, last = [], -1
    for pts in decoded:
        last = timeline.number_after(last, pts)
        found.append(last)
    return found


def test_b_frames_are_numbered_by_their_times():
    timeline = timeline_of([(0, True), (120, False), (40, False), (80, False), (160, True)])
    assert numbers(timeline, [0, 40, 120, 160]) == [0, 1, 3, 4]  # 80 did not decode
    np.testing.assert_allclose(timeline.times_s(5, time_base=MS, frames_per_s=Fraction(25)), np.arange(5) / 25)
    assert timeline.average_rate(MS) == 25


def test_frames_of_one_time_are_each_one_frame():
    timeline = timeline_of([(0, True), (40, False), (40, False), (80, False)])
    assert numbers(timeline, [0, 40, 40, 80]) == [0, 1, 2, 3]


def test_a_clock_that_starts_again_goes_on():
    timeline = timeline_of([(0, True), (80, False), (40, False), (0, True), (40, False)])
    assert numbers(timeline, [0, 40, 80, 0, 40]) == [0, 1, 2, 3, 4]
    assert numbers(timeline, [0, 80, 0, 40]) == [0, 2, 3, 4]
    times_s = timeline.times_s(5, time_base=MS, frames_per_s=Fraction(25))
    np.testing.assert_allclose(times_s, np.arange(5) / 25)


def test_a_time_stamp_that_comes_too_late_is_no_frame():
    timeline = timeline_of([(0, True), (80, False), (40, False), (120, False)])
    assert numbers(timeline, [0, 80, 40, 120, 777, None]) == [0, 2, 2, 3, 3, 3]


def test_without_all_times_frames_are_counted():
    timeline = timeline_of([(0, True), (None, False), (80, False)])
    assert timeline.num_packets == 3
    assert numbers(timeline, [0, None, 80]) == [0, 1, 2]
    assert timeline.average_rate(MS) is None
    np.testing.assert_allclose(timeline.times_s(3, time_base=MS, frames_per_s=Fraction(10)), [0, 0.1, 0.2])


def test_frames_that_only_the_header_knows_follow_at_the_average_rate():
    timeline = timeline_of([(500, True), (540, False)])
    times_s = timeline.times_s(4, time_base=MS, frames_per_s=Fraction(10))
    np.testing.assert_allclose(times_s, [0, 0.04, 0.14, 0.24])


def test_where_time_stands_still_the_rate_tells_it():
    timeline = timeline_of([(7, True), (7, False), (7, False)])
    assert timeline.average_rate(MS) is None
    np.testing.assert_allclose(timeline.times_s(3, time_base=MS, frames_per_s=Fraction(10)), [0, 0.1, 0.2])
