"""How a take's rows become final: an attempt journal, a part, and a record written last.

::

    <work>/<key of the parameters>/<take_id>/attempts       a line per attempt that has not ended
                                             part.parquet   the rows; removed once they are in the shards
                                             commit.json    the record: its presence means "this take is done"

A process may be killed between any two steps; the next attempt ends in the same bytes. An attempt that ends,
well or badly, takes its line back, so lines that are there count deaths.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mas_ray.config import codec
from mas_ray.corpora.take import Clip, Take
from mas_ray.ingest.curation.clip_score import ClipScore
from mas_ray.ingest.rejects import Reject
from mas_ray.shards.manifest import FORMAT, IngestParameters, file_sha256
from mas_ray.shards.schema import SCHEMA_VERSION
from mas_ray.shards.write import write_text

INGEST_VERSION = 3
"""Raise it whenever the same input gives other rows than before."""


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """What became of one take. Equal input gives an equal record."""

    take_id: str
    content: str
    """``take_content`` of what was ingested."""
    sha256: str
    """Of the part."""
    instants: tuple[int, ...]
    """The instants that have a row, in order."""
    rejects: tuple[Reject, ...]
    movement: str = ""
    """Of a single view: what its copies are recognised by."""
    score: ClipScore | None = None
    """Of a single view."""


def parameters_key(parameters: IngestParameters, mask_model_sha256: str | None) -> str:
    """Names the work tree: equal for equal parameters, schema, code and mask model."""
    text = "\n".join(
        [FORMAT, str(SCHEMA_VERSION), str(INGEST_VERSION), mask_model_sha256 or "", codec.dumps(parameters)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def take_content(take: Take, sha256: Callable[[Path], str] = file_sha256) -> str:
    """SHA-256 over everything of a take that shapes its rows: names, videos, calibration, masks, backgrounds.

    Reference joints do not count: no row depends on them. ``sha256`` gives a file's digest; without one that remembers
    (``fingerprint``) all of the take's files are read.
    """
    return _content(take, lambda clip: ((name, file.name, sha256(file)) for name, file in _files(clip)))


def take_content_in_store(take: Take, version: Callable[[str], str]) -> str:
    """Like ``take_content`` for files in an object store, by what the store says of them: nothing is read.

    ``version`` gives that of a file, or of all files in a folder.
    """

    def files(clip: Clip) -> Iterator[tuple[str, str, str]]:
        for name, path in (("video", clip.video), ("background", clip.background), ("masks", clip.masks)):
            if path is not None:
                yield name, path, version(path)

    return _content(take, files)


def _content(take: Take, files: Callable[[Clip], Iterable[tuple[str, str, str]]]) -> str:
    """Of what the files of each clip are, what they are called, and their digests."""
    digest = hashlib.sha256()

    def add(name: str, value: str) -> None:
        digest.update(f"{name}={value}\n".encode(errors="surrogateescape"))  # names need not be text

    add("take", repr((take.take_id, take.subject, take.action)))
    if take.skip_ends:
        add("skip_ends", str(take.skip_ends))
    for clip in take.clips:
        add("view", repr(clip.view))
        if clip.frames_per_s is not None:
            add("frames_per_s", repr(clip.frames_per_s))
        for name, file, value in files(clip):
            add(name, f"{file} {value}")
        if camera := clip.calibration:
            add("size", f"{camera.width_px} {camera.height_px}")
            for array in (camera.K, camera.distortion, camera.R, camera.t_mm):
                add("calibration", array.astype("<f8").tobytes().hex())
    return digest.hexdigest()


def take_footage(take: Take, sha256: Callable[[Path], str]) -> str:
    """Like ``take_content``, but whatever the take, its views and its videos are called: equal for exact copies."""
    digest = hashlib.sha256()
    for clip in take.clips:
        for name, file in _files(clip):
            label = file.name if _is_of_a_folder(clip, name) else ""
            digest.update(f"{name} {label} {sha256(file)}\n".encode(errors="surrogateescape"))
        if camera := clip.calibration:
            for array in (camera.K, camera.distortion, camera.R, camera.t_mm):
                digest.update(array.astype("<f8").tobytes())
        digest.update(b"\n")
    return digest.hexdigest()


def _is_of_a_folder(clip: Clip, name: str) -> bool:
    """Whether what the files are is also a matter of their names."""
    folder = {"video": clip.video, "masks": clip.masks, "chair_masks": clip.chair_masks}.get(name)
    return folder is not None and Path(folder).is_dir()


def take_files(take: Take) -> list[str]:
    """The files that ``take_content`` reads."""
    return [str(file) for clip in take.clips for _, file in _files(clip)]


def read_record(folder: Path, content: str | None = None) -> CommitRecord | None:
    """The record of a take that is done, if it is of this content (None: of any).

    Raises:
        ValueError: There is something else in its place.
    """
    path = record_path(folder)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        # By hand: a corpus has a hundred thousand of these, with hundreds of instants each.
        rejects = tuple(Reject(**reject) for reject in fields["rejects"])
        score = ClipScore(**fields["score"]) if fields["score"] else None
        record = CommitRecord(**fields | {"instants": tuple(fields["instants"]), "rejects": rejects, "score": score})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not a commit record: {error}") from None
    return record if content in (None, record.content) else None


def has_record(folder: Path) -> bool:
    """Whether a take was ever done, whatever its content."""
    return os.path.exists(f"{folder}/commit.json")  # noqa: PTH110  # asked for every take of a corpus


def write_record(folder: Path, record: CommitRecord) -> None:
    """Commit: after this the take is done. Its part must be in place."""
    write_text(record_path(folder), codec.dumps(record))


def record_path(folder: Path) -> Path:
    """Where the record of a take that is done lies."""
    return folder / "commit.json"


def journal_path(folder: Path) -> Path:
    """Where the attempts that have not ended stand, a line each."""
    return folder / "attempts"


def part_path(folder: Path) -> Path:
    """Where a take's rows wait for the shards."""
    return folder / "part.parquet"


def samples_path(folder: Path) -> Path:
    """Thumbnails of what was rejected (``shards.reject_samples``)."""
    return folder / "rejected.parquet"


def has_part(folder: Path, record: CommitRecord, sha256: Callable[[Path], str] = file_sha256) -> bool:
    """Whether the part that the record speaks of is there, byte for byte, as ``sha256`` sees it."""
    path = part_path(folder)
    return path.is_file() and sha256(path) == record.sha256


def discard(folder: Path) -> None:
    """Forget all that became of a take, its deaths too: the next ingest does it as if for the first time."""
    journal_path(folder).unlink(missing_ok=True)
    part_path(folder).unlink(missing_ok=True)
    samples_path(folder).unlink(missing_ok=True)
    record_path(folder).unlink(missing_ok=True)  # last, so that whoever is killed here finds the take again


@contextmanager
def attempt(folder: Path, content: str, session: str) -> Generator[None, None, None]:
    """Enter an attempt into the journal for as long as the block runs.

    ``session`` names the run of ingest. Leftovers of attempts that died are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with journal_path(folder).open("a", encoding="utf-8") as file:
        file.write(f"attempt {session} {content}\n")
        file.flush()
        os.fsync(file.fileno())
    for leftover in folder.glob("*.partial-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    try:
        yield
    finally:
        forget_attempt(folder, session)


def num_deaths(folder: Path, content: str, session: str | None = None) -> int:
    """Attempts on this content that began and never ended, of one session or of all.

    A take that kills its worker does so again and again within a session. A driver that is killed takes its healthy
    workers with it: that is one death per session, and no fault of the take.
    """
    mark = f" {session} {content}" if session else f" {content}"
    return sum(line.endswith(mark) for line in _journal(folder))


def forget_attempt(folder: Path, session: str) -> None:
    """Take the last attempt of a session back: it ended, or was ended from outside."""
    lines = _journal(folder)
    mine = [index for index, line in enumerate(lines) if line.startswith(f"attempt {session} ")]
    if not mine:
        return
    del lines[mine[-1]]
    if lines:
        write_text(journal_path(folder), "".join(f"{line}\n" for line in lines))
    else:
        journal_path(folder).unlink(missing_ok=True)


def _journal(folder: Path) -> list[str]:
    path = journal_path(folder)
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _files(clip: Clip) -> Iterator[tuple[str, Path]]:
    """What each file of a clip is, and its path."""
    yield from (("video", file) for file in _file_or_folder(Path(clip.video)))
    if clip.background is not None:
        yield "background", Path(clip.background)
    if clip.masks is not None:
        yield from (("masks", file) for file in _file_or_folder(Path(clip.masks)))
    if clip.chair_masks is not None:
        yield from (("chair_masks", file) for file in _file_or_folder(Path(clip.chair_masks)))


def _file_or_folder(path: Path) -> list[Path]:
    try:
        return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    except OSError:  # an unreadable folder is found out by whoever hashes it
        return [path]
