"""Reference joints as the corpora are handed out with them, read into ours."""

from __future__ import annotations

from pathlib import Path

from mas_ray.annotations import ReferenceJoints, human36m, mpi_inf_3dhp, read_reference


def read_official(path: Path) -> ReferenceJoints:
    """Read reference joints of any corpus, told apart by the file's suffix.

    Raises:
        ValueError: It is no such file; the message names it.
    """
    match path.suffix.lower():
        case ".cdf":
            return human36m.read(path)
        case ".mat":
            return mpi_inf_3dhp.read(path)
        case ".txt":
            return human36m.read_text(path)
        case _:
            return read_reference(path)
