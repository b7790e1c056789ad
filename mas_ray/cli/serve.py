"""``mas-ray serve``: answer requests over HTTP until stopped."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from mas_ray.cli.ingest import Method, mask_config
from mas_ray.config.jobs import ServeJob, UploadLimits, Workers


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Answer requests over HTTP: a picture or a short clip in, poses out. Ctrl-C stops it."""

    checkpoint: str
    """A checkpoint folder or its URI, `packaged`, or `models:/NAME@ALIAS` of MLflow's registry."""
    host: str = "127.0.0.1"
    """Address to listen on. The service asks nobody who they are: beyond this machine, put a proxy before it."""
    port: int = 8000
    replicas: int = 1
    """Processes that share the requests."""
    gpus_each: float = 0.0
    """GPUs of each; may be a fraction."""
    masks: Method = "selfie"
    """How the person is found."""
    max_mb: float = 32.0
    """Largest upload, in millions of bytes."""
    tracking_uri: str | None = None
    """MLflow store of a `models:/` checkpoint; without it what MLFLOW_TRACKING_URI says."""


def run(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray serve", description=Flags.__doc__)
    return show(
        ServeJob(
            checkpoint=flags.checkpoint,
            host=flags.host,
            port=flags.port,
            workers=Workers(num=flags.replicas, gpus_each=flags.gpus_each),
            masks=mask_config(flags.masks),
            limits=UploadLimits(max_mb=flags.max_mb),
            tracking_uri=flags.tracking_uri,
        )
    )


def show(job: ServeJob) -> int:
    """Serve a job until Ctrl-C or SIGTERM, which are its proper end."""
    from mas_ray.pipelines.serve import serving  # torch and Ray load only now

    with serving(job) as address:
        print(f"listening on {address}; its interface: {address}/openapi.json", flush=True)
        print(f"try       curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg' {address}/v1/poses", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("stopped")
    return 0
