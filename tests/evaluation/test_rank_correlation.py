import math

import numpy as np
import pytest
from scipy import stats

from mas_ray.evaluation.rank_correlation import mean_ranks, rank_correlation


def test_equal_values_share_the_mean_of_their_ranks():
    assert mean_ranks([3.0, 1.0, 3.0, 2.0, 3.0]).tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]


@pytest.mark.parametrize("levels", [3, 10, 10**9])
def test_it_is_scipys(levels):
    """With many ties, some, and none."""
    generator = np.random.default_rng(levels)
    for num in (4, 5, 24, 100):
        a, b = generator.integers(0, levels, (2, num)).astype(float)
        b += a  # so that there is something to find
        found = rank_correlation(a.tolist(), b.tolist())
        assert found is not None
        assert found.rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
        assert found.num_pairs == num


def test_by_hand():
    """Without ties, 1 - 6 Σd² / (n (n² - 1)): here one neighbouring pair of six is exchanged, Σd² = 2."""
    found = rank_correlation([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0, 40.0, 30.0, 50.0, 600.0])
    rho = 1 - 6 * 2 / (6 * 35)
    assert found is not None
    assert found.rho == pytest.approx(rho)
    half_width = 1.959964 * math.sqrt((1 + rho**2 / 2) / 3)
    assert math.atanh(found.low) == pytest.approx(math.atanh(rho) - half_width, rel=1e-6)
    assert math.atanh(found.high) == pytest.approx(math.atanh(rho) + half_width, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_only_the_order_counts(sign):
    a = np.array([0.1, 0.2, 0.5, 0.7, 3.0])
    found = rank_correlation(a.tolist(), (sign * np.exp(a)).tolist())
    assert found is not None
    assert (found.rho, found.low, found.high) == (sign, sign, sign)


def test_where_it_says_nothing():
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [5.0] * 4) is None
    with pytest.raises(ValueError, match="expected pairs, got 2 and 3"):
        rank_correlation([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not finite"):
        rank_correlation([1.0, 2.0, 3.0, math.nan], [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_the_interval_holds_the_true_rho_as_often_as_it_says(correlation):
    """Of normal pairs ρ is 6/π arcsin(r/2). The interval of 95 % must not be one of 90 or of 99."""
    true, generator = 6 / math.pi * math.asin(correlation / 2), np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        a, noise = generator.standard_normal((2, 24))
        found = rank_correlation(a.tolist(), (correlation * a + math.sqrt(1 - correlation**2) * noise).tolist())
        assert found is not None
        held += found.low <= true <= found.high
    assert 920 < held < 980
