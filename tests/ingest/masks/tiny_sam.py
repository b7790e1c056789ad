"""Segment Anything with random weights, of a width that a test can afford."""

import torch
from segment_anything.build_sam import _build_sam


def tiny_sam(checkpoint=None):
    """The real architecture at the real input size, through the package's private builder."""
    torch.manual_seed(0)
    sam = _build_sam(
        encoder_embed_dim=32,
        encoder_depth=2,
        encoder_num_heads=2,
        encoder_global_attn_indexes=[1],
        checkpoint=checkpoint,
    )
    # Weights as initialised answer alike everywhere; these make masks and scores depend on image and prompts.
    with torch.no_grad():
        for head in (sam.mask_decoder.output_hypernetworks_mlps, sam.mask_decoder.iou_prediction_head):
            for parameter in head.parameters():
                parameter.mul_(3.0)
    return sam
