"""Ray's Jobs API: a cluster's dashboard takes submissions, says how they are, and gives their logs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient
from ray.util.state import list_nodes
from ray.util.state.exception import RayStateApiException

import mas_ray
from mas_ray.pipelines import session
from mas_ray.pipelines.progress import note
from mas_ray.pipelines.resources import memory_each_bytes, pools, shortage
from mas_ray.pipelines.submission import Submission

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_API_SERVER = "RAY_API_SERVER_ADDRESS"
_PATIENCE_S = 300.0
_POLL_S = 1.0
_MOST_NODES = 10_000
_VERB, _VERSION = "mas_ray.verb", "mas_ray.version"
_LOST = (OSError, RuntimeError, aiohttp.ClientError, requests.RequestException)


@dataclass(frozen=True, kw_only=True)
class RemoteJob:
    """What a cluster says of a job."""

    name: str
    verb: str | None
    """None: it was not submitted by mas-ray."""
    code_version: str | None
    status: JobStatus
    started_ms: int | None
    """Since 1970, as are all times here."""
    ended_ms: int | None
    driver_status: int | None
    """Exit status of its command, if that has ended by itself."""

    @property
    def ended(self) -> bool:
        """Whether it will do nothing any more."""
        return self.status.is_terminal()

    @property
    def exit_status(self) -> int:
        """What its end means for a shell: its command's own status where it failed, 130 where it was stopped."""
        match self.status:
            case JobStatus.SUCCEEDED:
                return 0
            case JobStatus.STOPPED:
                return 130
            case _:
                return self.driver_status or 1


class RayJobs:
    """The jobs of one cluster."""

    def __init__(self, address: str | None = None) -> None:
        """Reach a cluster.

        Args:
            address: URL of its dashboard; None: what ``RAY_API_SERVER_ADDRESS`` says, or this machine's.

        Raises:
            ValueError: Nobody answers there, or not without a token, or not with this one.
        """
        self.address = (address or os.environ.get(_API_SERVER) or DEFAULT_ADDRESS).rstrip("/")
        if not self.address.startswith(("http://", "https://")):
            raise ValueError(f"--address: expected the URL of a Ray dashboard, http://HOST:8265, got {self.address!r}")
        os.environ[_API_SERVER] = self.address  # Ray's client takes it from there, whatever it is told
        logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)  # it tells each connection's end
        session.offer_token()
        try:
            self._client = JobSubmissionClient(self.address)
        except AuthenticationError as error:
            raise ValueError(_refused(self.address, error)) from None
        except (ConnectionError, RuntimeError, requests.RequestException) as error:
            raise ValueError(f"{self.address}: no Ray dashboard answers: {_first_line(error)}") from None

    def shortage(self, submission: Submission) -> str | None:
        """What the cluster, as it is now, lacks to hold the workers of a job; None if nothing is."""
        asked = pools(submission.job)
        if not asked:
            return None
        try:
            # Asked for living nodes alone, it takes each dead one for an answer that was cut short.
            found = cast(list[Any], list_nodes(self.address, limit=_MOST_NODES, detail=True))
        except RayStateApiException as error:
            raise ValueError(f"{self.address}: does not tell its nodes: {_first_line(error)}") from None
        there: dict[str, float] = {}
        for node in (node for node in found if node.state == "ALIVE"):
            for resource, amount in (node.resources_total or {}).items():
                there[resource] = there.get(resource, 0.0) + amount
        return shortage(there, asked, submission.verb, memory_each_bytes=memory_each_bytes(submission.job))

    def submit(self, submission: Submission, *, with_code: bool = False) -> None:
        """Start a job on the cluster.

        Args:
            submission: The job.
            with_code: Send the package that runs here; otherwise that of the cluster's image runs.

        Raises:
            ValueError: The cluster refuses: it has had a job of this name, for one.
        """
        runtime_env: dict[str, Any] = {"env_vars": submission.environment}
        if with_code:
            runtime_env |= {"py_modules": [str(Path(mas_ray.__file__).parent)], "excludes": ["__pycache__"]}
        try:
            self._client.submit_job(
                entrypoint=submission.entrypoint,
                submission_id=submission.name,
                runtime_env=runtime_env,
                metadata={_VERB: submission.verb, _VERSION: mas_ray.__version__},
            )
        except (RuntimeError, OSError) as error:
            if "already exists" in str(error):
                raise ValueError(f"--name: the cluster has had a job {submission.name} already") from None
            raise ValueError(f"{self.address}: takes no job: {_first_line(error)}") from None

    def get(self, name: str) -> RemoteJob:
        """How a job is.

        Raises:
            ValueError: The cluster has none of this name.
        """
        try:
            return _remote_job(self._client.get_job_info(name))
        except RuntimeError as error:
            if "404" in str(error).partition(":")[0]:
                raise ValueError(f"{name}: no such job at {self.address}; `mas-ray jobs list` names them") from None
            raise

    def all(self) -> list[RemoteJob]:
        """The submitted jobs that the cluster remembers, the latest last."""
        jobs = [_remote_job(job) for job in self._client.list_jobs() if job.submission_id]
        return sorted(jobs, key=lambda job: job.started_ms or 0)

    def logs(self, name: str) -> str:
        """What a job has said so far."""
        self.get(name)
        return self._client.get_job_logs(name)

    def follow(self, name: str, write: Callable[[str], object]) -> RemoteJob:
        """Write what a job says, from its beginning until it has ended, over lost connections too.

        Raises:
            RuntimeError: The cluster has not answered for minutes; the job may go on.
        """
        tail = _Tail()
        lost_s: float | None = None
        while True:
            try:
                asyncio.run(tail.read(self._client, name, write))
                job = self.get(name)
                if job.ended:
                    rest = self._client.get_job_logs(name)[tail.num_written :]
                    write(rest)
                    return job
                lost_s = None
            except _LOST as error:
                if lost_s is None:
                    lost_s = time.monotonic()
                    note(f"{self.address} does not answer ({_first_line(error)}); trying again")
                if time.monotonic() - lost_s > _PATIENCE_S:
                    raise RuntimeError(
                        f"{self.address} has not answered for {_PATIENCE_S / 60:.0f} minutes; the job may go on: "
                        f"mas-ray jobs logs {name} --follow"
                    ) from error
            time.sleep(_POLL_S)

    def stop(self, name: str) -> RemoteJob:
        """End a job, and wait until it has; one that has ended stays as it is."""
        job = self.get(name)
        if not job.ended:
            self._client.stop_job(name)
        while not job.ended:
            time.sleep(_POLL_S)
            job = self.get(name)
        return job


def _remote_job(job: JobDetails) -> RemoteJob:
    metadata = job.metadata or {}
    return RemoteJob(
        name=job.submission_id or "",
        verb=metadata.get(_VERB),
        code_version=metadata.get(_VERSION),
        status=JobStatus(job.status),
        started_ms=job.start_time,
        ended_ms=job.end_time,
        driver_status=job.driver_exit_code,
    )


@dataclass
class _Tail:
    """How much of a job's log is written already."""

    num_written: int = 0

    async def read(self, client: JobSubmissionClient, name: str, write: Callable[[str], object]) -> None:
        """Write what comes until the connection ends; each one begins with the whole log."""
        passed = 0
        async for text in client.tail_job_logs(name):
            fresh = text[max(0, self.num_written - passed) :]
            passed += len(text)
            if fresh:
                write(fresh)
                self.num_written += len(fresh)


def _refused(address: str, error: AuthenticationError) -> str:
    if "Missing" in str(error) or "required" in str(error):
        return f"{address}: admits only holders of its token; expected it in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    return f"{address}: does not admit this token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token)"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
