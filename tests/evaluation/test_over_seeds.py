from __future__ import annotations

import pytest

from mas_ray.config.published import Figures
from mas_ray.evaluation.over_seeds import Spread, figures_over_seeds, mean_and_deviation


def test_mean_and_deviation_in_closed_form():
    assert mean_and_deviation([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_deviation([5.0, 5.0]) == (5.0, 0.0)
    mean, deviation = mean_and_deviation([0.0, 3.0, 6.0, 3.0])
    assert (mean, deviation) == (3.0, pytest.approx(6.0**0.5))


def test_one_seed_has_no_deviation_and_none_no_mean():
    assert mean_and_deviation([7.0]) == (7.0, None)
    assert mean_and_deviation([]) == (None, None)


def test_each_figure_has_its_own_mean():
    seeds = [Figures(mpjpe_mm=10.0 * n, percent_of_crop=float(n)) for n in (1, 2, 3)]
    means, spread = figures_over_seeds(seeds)
    assert means == Figures(mpjpe_mm=20.0, percent_of_crop=2.0)
    assert spread == Spread(deviation=Figures(mpjpe_mm=10.0, percent_of_crop=1.0), num_seeds=3)


def test_a_figure_that_a_seed_has_not_has_no_mean():
    seeds = [Figures(mpjpe_mm=1.0, ambiguity_ratio=0.1), Figures(mpjpe_mm=2.0, ambiguity_ratio=0.2)]
    means, spread = figures_over_seeds([*seeds, Figures(mpjpe_mm=3.0)])
    assert means == Figures(mpjpe_mm=2.0)
    assert spread == Spread(deviation=Figures(mpjpe_mm=1.0), num_seeds=3)
    assert figures_over_seeds([]) == (Figures(), Spread(deviation=Figures(), num_seeds=0))
