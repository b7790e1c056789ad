"""What is installed, what the machine has, what is cached and what is missing: facts only, nothing is printed.

Whatever may be absent or broken is imported here when it is examined, and not before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import io
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from mas_ray import assets

Status = Literal["ok", "fetchable", "missing"]

_GIB = 1024**3
_DEMO_DISK_GIB = 2.0
_CACHE_DISK_GIB = 0.2
_REINSTALL = "pip install --upgrade mas-ray"
_REMEDY_OF_ASSET = {
    assets.SELFIE_SEGMENTATION: (
        "masks of people",
        "python -c 'from mas_ray import assets; assets.fetch(assets.SELFIE_SEGMENTATION)'",
    ),
    assets.BALANCING_VIDEOS: ("the real sample", "mas-ray sample balancing"),
    assets.BALANCING_REFERENCE: ("the real sample", "mas-ray sample balancing"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        area: What kind of thing it is.
        name: What was looked at.
        status: ``missing`` stops the demo; ``fetchable`` comes by itself when it is first needed.
        found: What there is.
        needed_for: What does not work without it.
        remedy: The command that mends it; empty where nothing is to be mended.
    """

    area: Literal["package", "device", "disk", "asset", "works", "network"]
    name: str
    status: Status
    found: str
    needed_for: str = ""
    remedy: str = ""


def examine(working_folder: Path, cache: Path | None = None, *, network: bool = False) -> tuple[Check, ...]:
    """Look at everything the demo needs.

    Args:
        working_folder: Where datasets and runs would be written.
        cache: The asset cache, instead of ``assets.default_cache()``.
        network: Also ask the package index whether it answers; what is not cached is ``missing`` if it does not.
    """
    index = [_check_index()] if network else []
    index_answers = all(check.status == "ok" for check in index)
    return (
        *_check_packages(),
        *_check_devices(),
        *_check_disks(working_folder, cache or assets.default_cache()),
        *(_check_asset(asset, cache, index_answers) for asset in assets.ALL),
        _check_h264(),
        _check_import("ray", "ingest and training"),
        _check_import("mlflow", "tracking of runs"),
        *index,
    )


def is_ready(checks: tuple[Check, ...]) -> bool:
    """Whether everything that the demo needs is there or fetchable."""
    return all(check.status != "missing" for check in checks)


def _check_packages() -> Iterator[Check]:
    from packaging.requirements import Requirement  # comes with Ray and MLflow

    try:
        wanted = importlib.metadata.metadata("mas-ray")["Requires-Python"]
    except importlib.metadata.PackageNotFoundError:
        yield _broken("package", "mas-ray", "not installed, only imported from a folder", "knowing what it asks for")
        return
    yield Check(area="package", name="python", status="ok", found=f"{platform.python_version()} (asked: {wanted})")
    yield _check_pip()
    for line in importlib.metadata.requires("mas-ray") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_package(requirement.name, str(requirement.specifier), line)


def _check_pip() -> Check:
    if importlib.util.find_spec("pip") is not None:
        return Check(area="package", name="pip", status="ok", found=importlib.metadata.version("pip"))
    return Check(
        area="package",
        name="pip",
        status="missing",
        found="not installed",
        needed_for="fetching assets",
        remedy="python -m ensurepip",
    )


def _check_package(name: str, specifier: str, requirement: str) -> Check:
    from packaging.specifiers import SpecifierSet

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    fits = version is not None and SpecifierSet(specifier).contains(version, prereleases=True)
    return Check(
        area="package",
        name=name,
        status="ok" if fits else "missing",
        found=f"{version or 'not installed'} (asked: {specifier or 'any'})",
        needed_for="" if fits else "everything",
        remedy="" if fits else f"pip install '{requirement.split(';')[0].strip()}'",
    )


def _check_devices() -> Iterator[Check]:
    # Linux knows which CPUs this process may use; other systems only how many there are.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(area="device", name="CPU", status="ok", found=f"{cpus} usable, {platform.machine()}")
    try:
        import psutil
    except (ImportError, OSError) as error:
        yield _broken("device", "memory", f"psutil does not import: {_one_line(error)}", "choosing workers")
    else:
        memory = psutil.virtual_memory()
        found = f"{memory.total / _GIB:.1f} GiB, {memory.available / _GIB:.1f} GiB of it available"
        yield Check(area="device", name="memory", status="ok", found=found)
    try:
        import torch
    except (ImportError, OSError) as error:
        yield _broken("device", "CUDA", f"torch does not import: {_one_line(error)}", "everything")
        return
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(devices) if devices else "none: everything runs on CPUs"
    yield Check(area="device", name="CUDA", status="ok", found=found)


def _check_disks(working_folder: Path, cache: Path) -> Iterator[Check]:
    for name, folder, wanted_gib, needed_for in (
        ("working folder", working_folder, _DEMO_DISK_GIB, "the demo's output"),
        ("cache", cache, _CACHE_DISK_GIB, "fetched assets"),
    ):
        free_gib = shutil.disk_usage(_existing(folder)).free / _GIB
        enough = free_gib >= wanted_gib
        yield Check(
            area="disk",
            name=name,
            status="ok" if enough else "missing",
            found=f"{free_gib:.1f} GiB free at {folder}",
            needed_for="" if enough else f"{needed_for} ({wanted_gib} GiB)",
            remedy="" if enough else f"df -h {_existing(folder)}  # then free space or use another disk",
        )


def _check_asset(asset: assets.Asset, cache: Path | None, index_answers: bool) -> Check:
    folder = assets.folder(asset, cache)
    if assets.is_cached(asset, cache):
        return Check(area="asset", name=asset.name, status="ok", found=f"{folder} ({asset.licence})")
    needed_for, remedy = _REMEDY_OF_ASSET[asset]
    return Check(
        area="asset",
        name=asset.name,
        status="fetchable" if index_answers else "missing",
        found=f"{'damaged' if folder.exists() else 'not cached'}; comes from {asset.requirement} of the package index",
        needed_for=needed_for,
        remedy=remedy,
    )


def _check_h264() -> Check:
    try:
        import av

        with av.open(io.BytesIO(), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(25))
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(stream.encode(None))
    # FFmpeg's errors are OSErrors or ValueErrors; PyAV's "unknown codec" is one of the latter.
    except (ImportError, OSError, ValueError) as error:
        return Check(
            area="works",
            name="H.264",
            status="missing",
            found=f"PyAV cannot encode it: {_one_line(error)}",
            needed_for="overlay videos, the synthetic corpus",
            remedy="pip install --force-reinstall --only-binary=av av",
        )
    return Check(area="works", name="H.264", status="ok", found=f"encoded by PyAV {av.__version__}")


def _check_import(module: str, needed_for: str) -> Check:
    try:
        found = f"imports, version {importlib.import_module(module).__version__}"
    except (ImportError, OSError) as error:
        return _broken("works", module, f"does not import: {_one_line(error)}", needed_for)
    return Check(area="works", name=module, status="ok", found=found)


def _check_index() -> Check:
    complaint = assets.index_complaint()
    if complaint is None:
        return Check(area="network", name="package index", status="ok", found="answers")
    return Check(
        area="network",
        name="package index",
        status="missing",
        found=complaint,
        needed_for="assets that are not cached",
        remedy="pip config list  # is the index right, is there a way to it?",
    )


def _broken(area: Literal["package", "device", "works"], name: str, found: str, needed_for: str) -> Check:
    return Check(area=area, name=name, status="missing", found=found, needed_for=needed_for, remedy=_REINSTALL)


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
