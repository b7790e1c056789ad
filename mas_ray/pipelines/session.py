"""A Ray session for one job: started or joined quietly, checked against what the job asks for, and left clean."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

from mas_ray.config.ingest import SamWorkers
from mas_ray.config.jobs import Workers
from mas_ray.pipelines import resources
from mas_ray.pipelines.progress import note
from mas_ray.pipelines.submission import AUTOSCALING

_KNOCK_S = 10.0


@contextmanager
def connect(num_cpus: int | None = None) -> Generator[None, None, None]:
    """Hold a Ray session for the block.

    A session that this process already has is used and left running. Otherwise the cluster at ``RAY_ADDRESS`` is
    joined if that variable is set, else a cluster of this machine alone is started, which ends with the block. The
    latter admits only holders of a token: the configured one (``RAY_AUTH_TOKEN``, ``RAY_AUTH_TOKEN_PATH`` or
    ``~/.ray/auth_token``) or a random one that lives in this process's environment and is written nowhere.

    Args:
        num_cpus: Logical CPUs of a cluster of this machine alone; None: as many as it has.

    Raises:
        ValueError: The cluster at ``RAY_ADDRESS`` cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    _set_environment()
    with _sigterm_kept():
        if address := os.environ.get("RAY_ADDRESS"):
            note(f"joining the Ray cluster at {address}")
            _join(address)
        else:
            note("starting Ray on this machine")
            with _silent_stderr():  # failures are exceptions; the rest is chatter
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
    try:
        yield
    finally:
        with quiet_end():
            ray.shutdown()


@contextmanager
def quiet_end() -> Generator[None]:
    """Print nothing in the block, in which actors end: a thread of Ray's tells on stdout that their tasks failed."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def require(workers: Workers, what: str, *, memory_each_bytes: int = 0, beside: SamWorkers | None = None) -> None:
    """Check that the cluster can ever hold a job's workers, all at once; Ray itself would wait for ever.

    A cluster that makes nodes as they are asked for, as ``MAS_RAY_AUTOSCALING=1`` says, is waited for.

    Raises:
        ValueError: It cannot; one line names the resource, what is asked and what is there.
    """
    lack = shortage(workers, what, memory_each_bytes=memory_each_bytes, beside=beside)
    if lack is None:
        return
    if not grows():
        hint = f"; if it makes nodes as they are asked for, say so by {AUTOSCALING}=1" if _is_shared() else ""
        raise ValueError(f"workers: {lack}{hint}")
    note(f"waiting for the cluster to grow: {lack}")


def grows() -> bool:
    """Whether the cluster makes nodes as they are asked for: Ray does not tell, so its user has to."""
    return os.environ.get(AUTOSCALING) == "1"


def shortage(
    workers: Workers, what: str, *, memory_each_bytes: int = 0, beside: SamWorkers | None = None
) -> str | None:
    """What the cluster, as it is now, lacks to hold a job's workers; None if it can."""
    pools = (workers, beside) if beside else (workers,)
    return resources.shortage(ray.cluster_resources(), pools, what, memory_each_bytes=memory_each_bytes)


def offer_token() -> None:
    """Let Ray's clients show the configured token, if there is one and the user has not chosen otherwise."""
    if _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        Config.initialize("")  # it was read when Ray was imported


def quiet_data() -> None:
    """Keep Ray Data off the terminal; its log files in the session's folder stay as they are."""
    import ray.data  # it sets up its logging on import, and takes a second

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)


def _set_environment() -> None:
    """Settings that Ray takes from the environment alone, where the user has not chosen."""
    if not os.environ.get("RAY_ADDRESS"):
        mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
        if mode == "token" and not _has_token():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's C++ side writes its errors to the terminal past Python's logging, harmless ones in every run of Ray Data.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray has read the variables when it was imported; its own way to set the mode later is to read them again.
    Config.initialize("")


def _join(address: str) -> None:
    """Join a cluster; ``ValueError`` at once where nobody listens (Ray itself would try for minutes)."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
        with _silent_stderr():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        raise ValueError(f"RAY_ADDRESS: no Ray cluster at {address}: {error.strerror or error}") from None


@contextmanager
def _sigterm_kept() -> Generator[None]:
    """Whatever was to happen on SIGTERM before the block happens after it; Ray's own handler ends in an abort."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, and Ray leaves them alone elsewhere
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent_stderr() -> Generator[None, None, None]:
    """Standard error goes nowhere for the block, native code's as well."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _is_shared() -> bool:
    """Whether the cluster is there without this process."""
    return "RAY_ADDRESS" in os.environ


def _has_token() -> bool:
    configured = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(configured) or (Path.home() / ".ray" / "auth_token").is_file()
