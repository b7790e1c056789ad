"""A job from a file: a record, or a literal as in ``jobs/``."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mas_ray.config import codec

if TYPE_CHECKING:
    from mas_ray.shards.location import Location

T = TypeVar("T")


def load_job(path: str, expected: type[T]) -> T:
    """The job in a ``.json`` record, on a disk or in an object store, or the ``JOB`` of a ``.py`` file.

    A Python file is executed for that, with all that this process may do: load none that you would not run.

    Raises:
        ValueError: There is no such file, or no job of the expected kind in it; one line says which, and where.
    """
    if "://" in path:
        from mas_ray.shards.location import location  # pyarrow loads only now

        record = location(path)
        if not record.is_file():
            raise ValueError(f"{path}: no such file")
        return codec.loads(expected, _utf8(record), path)
    file = Path(path)
    if file.is_file() and file.suffix == ".json":
        return codec.loads(expected, _utf8(file), path)
    if file.is_file() and file.suffix != ".py":
        raise ValueError(f"{path}: expected a Python file (.py) with a JOB, or a job's record (.json)")
    job = load_literal(path, f"{expected.__name__}(...)")
    if not isinstance(job, expected):
        raise ValueError(f"{path}: expected JOB = {expected.__name__}(...), got a {type(job).__name__}")
    return job


def load_literal(path: str, expected: str) -> object:
    """The ``JOB`` of a ``.py`` file, whatever it is; the file is executed as by ``load_job``.

    Raises:
        ValueError: There is no such file, or no ``JOB`` in it; the message says that ``expected`` was.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{path}: no such file")
    if file.suffix != ".py":
        raise ValueError(f"{path}: expected a Python file (.py) with a JOB")
    variables = _executed(path)
    if "JOB" not in variables:
        raise ValueError(f"{path}: has no JOB; expected JOB = {expected}")
    return variables["JOB"]


def _utf8(file: Location) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected a text of JSON, got other bytes") from None


def _executed(path: str) -> dict[str, Any]:
    """The variables of a Python file. It is not ``__main__``, so that what it does as a program is left out."""
    try:
        return runpy.run_path(path)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise ValueError(f"{path}{_line(error, path)}: {_text(error)}") from error


def _line(error: BaseException, path: str) -> str:
    """The last line of the file itself, whatever it called."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines else ""


def _text(error: BaseException) -> str:
    """Our own errors are ``ValueError`` and speak for themselves; of others the kind says more than the text."""
    lines = str(error).splitlines()
    first = [lines[0]] if lines else []
    return ": ".join(first if first and isinstance(error, ValueError) else [type(error).__name__, *first])
