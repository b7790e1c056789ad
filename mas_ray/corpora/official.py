"""The corpora on disk by their kind."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from pathlib import Path

from mas_ray.config.ingest import CorpusKind
from mas_ray.corpora import folder, human36m, human36m_pictures, mpi_inf_3dhp, tiktok
from mas_ray.corpora.layout import RejectedSource
from mas_ray.corpora.take import Take


def sources(kind: CorpusKind, root: Path) -> Iterator[Take | RejectedSource]:
    """The takes below ``root`` in the order of their ids, and in their places what was rejected.

    Raises:
        ValueError: The corpus is not there, or not all of it; the message names what is missing.
    """
    match kind:
        case "folder":
            return folder.sources(root)
        case "human36m" if human36m_pictures.is_copy(root):
            return human36m_pictures.sources(root)
        case "human36m":
            return human36m.sources(root)
        case "mpi_inf_3dhp":
            return mpi_inf_3dhp.sources(root)
        case "tiktok":
            return tiktok.sources(root)


def kind_of(name: str) -> CorpusKind:
    """The kind that a manifest names its corpus by; the plain layout if it is none of ours."""
    return next((kind for kind in typing.get_args(CorpusKind) if kind == name), "folder")
