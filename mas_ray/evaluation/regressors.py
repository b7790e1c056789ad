"""The two maps of supervised post-processing: a linear one and a network with two hidden layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Regress = Callable[[Float[Tensor, "samples inputs"]], Float[Tensor, "samples outputs"]]

_HIDDEN = (256, 256)
_EPOCHS = 100


def fit_linear(
    inputs: Float[Tensor, "samples inputs"], targets: Float[Tensor, "samples outputs"], alpha: float
) -> Regress:
    """Ridge regression with an offset; the penalty is relative to the mean variance of the inputs.

    A NaN in an output's targets makes that output NaN, and no other.
    """
    input_mean, target_mean = inputs.mean(0), targets.mean(0)
    centred = inputs - input_mean
    gram = centred.T @ centred
    # Points relative to their mean make the plain problem singular: even an exact fit needs some penalty.
    penalty = (alpha * gram.diagonal().mean()).clamp_min(torch.finfo(gram.dtype).tiny)
    weights = torch.linalg.solve(
        gram + penalty * torch.eye(len(gram), dtype=gram.dtype), centred.T @ (targets - target_mean)
    )
    offset = target_mean - input_mean @ weights
    return lambda points: points @ weights + offset


def fit_two_hidden_layers(
    inputs: Float[Tensor, "samples inputs"], targets: Float[Tensor, "samples outputs"], alpha: float
) -> Regress:
    """A network of two hidden layers of 256 ReLUs, by Adam for 100 epochs from seed 0; the penalty is scikit-learn's.

    Inputs and targets are brought to unit variance as a whole. A NaN in an output's targets makes that output NaN.
    """
    from sklearn.exceptions import ConvergenceWarning  # a second to load, for who asks for labels
    from sklearn.neural_network import MLPRegressor

    known = targets.isfinite().all(0)
    input_mean, input_scale = inputs.mean(0), _scale(inputs)
    target_mean, target_scale = targets.mean(0), _scale(targets[:, known])
    network = MLPRegressor(
        hidden_layer_sizes=_HIDDEN, alpha=alpha, max_iter=_EPOCHS, n_iter_no_change=_EPOCHS, random_state=0
    )
    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):  # the epochs are what they are
        network.fit(
            ((inputs - input_mean) / input_scale).numpy(),
            ((targets - target_mean) / target_scale)[:, known].numpy(),
        )

    def regress(points: Float[Tensor, "samples inputs"]) -> Float[Tensor, "samples outputs"]:
        complete = points.isfinite().all(-1)
        mapped = points.new_full((len(points), len(known)), torch.nan)
        if complete.any():
            found = torch.from_numpy(network.predict(((points[complete] - input_mean) / input_scale).numpy()))
            rows, columns = complete.nonzero(), known.nonzero()[:, 0]
            mapped[rows, columns] = found.reshape(len(rows), -1) * target_scale + target_mean[known]
        return mapped

    return regress


def _scale(values: Float[Tensor, "samples axes"]) -> Float[Tensor, ""]:
    """One for all axes, so that they keep their proportions; 1 where nothing varies."""
    deviation = (values - values.mean(0)).square().mean().sqrt()
    return torch.where(deviation > 0, deviation, 1.0)
