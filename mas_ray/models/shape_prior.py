"""The shape prior network psi (Eq. 6): skeleton mask in, physique mask out.

Its receptive field is kept small on purpose: it may thicken lines into limbs but not invent limbs, so that a
complete physique mask needs the keypoints to be right.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from mas_ray.config.model import ShapePriorConfig
from mas_ray.models.backbone import group_norm


class ShapePriorNetwork(nn.Module):
    """An encoder and decoder without skip connections, ended by a sigmoid."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, skeleton_mask: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Physique masks in (0, 1)."""
        return self.layers(skeleton_mask.unsqueeze(1)).squeeze(1).float().sigmoid()


def create_shape_prior(config: ShapePriorConfig) -> ShapePriorNetwork:
    """A shape prior network with random weights."""
    widths = config.widths
    layers = _block(1, widths[0])
    for coarse, fine in zip(widths[1:], widths[:-1], strict=True):
        layers += _block(fine, fine) + _block(fine, coarse, stride=2)
    for fine, coarse in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True):
        layers += _block(coarse, coarse)
        layers += [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), *_block(coarse, fine)]
    layers.append(nn.Conv2d(widths[0], 1, 3, padding=1))
    return ShapePriorNetwork(nn.Sequential(*layers))


def _block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        group_norm(outputs),
        nn.LeakyReLU(0.01, inplace=True),
    ]
