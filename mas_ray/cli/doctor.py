"""``mas-ray doctor``: what is installed, cached and missing, and the command that mends each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mas_ray.pipelines.doctor import Check, examine, is_ready

_STYLE = {"ok": "green", "fetchable": "yellow", "missing": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Say what is installed, cached and missing. Exit status 0: everything the demo needs is there or fetchable."""

    network: bool = False
    """Also ask the package index whether it answers."""
    json: bool = False
    """Print JSON."""


def run(argv: Sequence[str]) -> int:
    """Examine, print, and answer by the exit status whether the demo can run."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray doctor", description=Flags.__doc__)
    checks = examine(Path.cwd(), network=flags.network)
    console = Console()
    if flags.json:
        print(json.dumps({"ready": is_ready(checks), "checks": [dataclasses.asdict(c) for c in checks]}, indent=2))
    elif console.is_terminal:
        _print_table(console, checks)
    else:
        _print_lines(checks)
    return 0 if is_ready(checks) else 1


def _print_table(console: Console, checks: Sequence[Check]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    area = ""
    for check in checks:
        table.add_row(
            check.area if check.area != area else "",
            check.name,
            Text(check.status, style=_STYLE[check.status]),
            # Text, not markup: what was found may hold brackets.
            Text(check.found + (f"\nneeded for {check.needed_for}" if check.needed_for else ""), overflow="fold"),
        )
        area = check.area
    console.print(table)
    for line in _closing_lines(checks):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_lines(checks: Sequence[Check]) -> None:
    for check in checks:
        needed_for = f"; needed for {check.needed_for}" if check.needed_for else ""
        print(f"{check.status:<9} {check.area:<7} {check.name:<22} {check.found}{needed_for}")
    for line in _closing_lines(checks):
        print(line)


def _closing_lines(checks: Sequence[Check]) -> list[str]:
    """The commands that mend what is not there, each once, and the verdict."""
    missing = sum(check.status == "missing" for check in checks)
    fetchable = sum(check.status == "fetchable" for check in checks)
    remedies: dict[str, str] = {}
    for check in checks:
        if check.remedy:
            remedies.setdefault(check.remedy, check.name)
    lines = [f"to mend {name}: {remedy}" for remedy, name in remedies.items()]
    if missing:
        return [*lines, f"not ready: {missing} missing"]
    fetched = f"; assets to fetch when first used: {fetchable}" if fetchable else ""
    return [*lines, f"ready{fetched}"]
