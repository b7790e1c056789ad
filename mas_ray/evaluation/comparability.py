"""Whether the figures of two evaluations may stand beside each other."""

from __future__ import annotations

from mas_ray.evaluation.record import Evaluation


def check_comparable(evaluation: Evaluation, other: Evaluation, where: str) -> None:
    """Two evaluations compare if they measure the same frame sets of the same split against the same reference.

    Args:
        evaluation: One.
        other: The other.
        where: What to call it.

    Raises:
        ValueError: They do not; the message names the first thing that differs.
    """
    of_both = {
        "protocol": (evaluation.protocol, other.protocol),
        "corpus": (evaluation.source.corpus, other.source.corpus),
        "split": (evaluation.source.split, other.source.split),
        "reference": (evaluation.source.reference, other.source.reference),
        "takes": (evaluation.source.takes, other.source.takes),
        "num_frame_sets": (evaluation.source.num_frame_sets, other.source.num_frame_sets),
    }
    for name, (ours, theirs) in of_both.items():
        if ours != theirs:
            raise ValueError(f"{where}: {name}: figures do not compare; expected {_short(ours)}, got {_short(theirs)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
