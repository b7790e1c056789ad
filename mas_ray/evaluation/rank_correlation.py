"""How well one figure ranks what another figure ranks: Spearman's ρ with a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_FEWEST = 4  # pairs: the interval's width divides by their number less 3
_NORMAL_975 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's ρ of some pairs."""

    rho: float
    """1: both rank alike; -1: one ranks as the other, upside down."""
    low: float
    """Of the 95 % interval."""
    high: float
    num_pairs: int


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> RankCorrelation | None:
    """Spearman's ρ, the correlation of the ranks; equal values share the mean of their ranks.

    The interval is Fisher's: normal about artanh ρ, with the variance (1 + ρ² / 2) / (n - 3) that Bonett and Wright
    give for ranks (Sample size requirements for estimating Pearson, Kendall and Spearman correlations, Psychometrika
    65, 2000). In simulations of 1000 normal samples each of 12 and 24 pairs, with ρ from 0 to 0.95, it held the true ρ
    in 93 to 97 % of them. So did the bootstrap, in 95 to 99 %: it is wider where ρ is high, and needs a seed. Either
    takes the pairs as independent draws from one population: of trials of a sweep it says how far ρ would move with
    other trials of the same space, not with other frame sets or another dataset. At ρ = ±1 it has no width.

    Args:
        a: One figure of each pair.
        b: The other.

    Returns:
        None where ρ or its interval is not defined: with fewer than four pairs, or if either figure is always the same.

    Raises:
        ValueError: There are not as many of one as of the other, or one is not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"rank_correlation: expected pairs, got {len(a)} and {len(b)} figures")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("rank_correlation: a figure is not finite")
    if len(a) < _FEWEST or len(set(a)) == 1 or len(set(b)) == 1:
        return None
    ranks = np.stack([mean_ranks(a), mean_ranks(b)])
    rho = float(np.clip(np.corrcoef(ranks)[0, 1], -1.0, 1.0))
    if abs(rho) > 1.0 - 1e-12:  # but for rounding it is 1, whose artanh is infinite
        sign = math.copysign(1.0, rho)
        return RankCorrelation(rho=sign, low=sign, high=sign, num_pairs=len(a))
    half_width = _NORMAL_975 * math.sqrt((1.0 + rho**2 / 2.0) / (len(a) - 3))
    return RankCorrelation(
        rho=rho,
        low=math.tanh(math.atanh(rho) - half_width),
        high=math.tanh(math.atanh(rho) + half_width),
        num_pairs=len(a),
    )


def mean_ranks(values: Sequence[float]) -> Float64[np.ndarray, " values"]:
    """The rank of each value from 1; equal values share the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[group]
