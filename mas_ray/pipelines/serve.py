"""``mas-ray serve``: a checkpoint behind HTTP, on Ray Serve."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager

from mas_ray import assets
from mas_ray.config.ingest import SelfieMasks, seed_of
from mas_ray.config.jobs import ServeJob
from mas_ray.inference import FrameSetEstimator
from mas_ray.pipelines import session
from mas_ray.pipelines.named_checkpoint import named_checkpoint
from mas_ray.pipelines.progress import note


@contextmanager
def serving(job: ServeJob) -> Generator[str]:
    """Answer requests while the block runs; its address.

    Raises:
        ValueError: There is no such checkpoint, the port is taken, or the cluster cannot hold the replicas.
    """
    with named_checkpoint(job.checkpoint, job.tracking_uri) as (name, checkpoint):
        estimator = FrameSetEstimator.load(checkpoint)
    if isinstance(seed_of(job.masks), SelfieMasks):
        assets.fetch(assets.SELFIE_SEGMENTATION)  # what is wrong with that is said before anything starts
    if not os.environ.get("RAY_ADDRESS"):
        _check_free(job.host, job.port)
    if not _is_loopback(job.host):
        note(f"serve: {job.host} is reached from elsewhere, and whoever reaches it may use it")
    with session.connect():
        session.require(job.workers, "serve")
        import ray
        from ray import serve  # seconds of imports

        from mas_ray.pipelines.pose_service import deployment

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(http_options={"host": job.host, "port": job.port})
        try:
            replicas = deployment.options(
                num_replicas=job.workers.num,
                max_ongoing_requests=job.max_ongoing,
                max_queued_requests=job.max_queued,
                ray_actor_options={"num_cpus": job.workers.cpus_each, "num_gpus": job.workers.gpus_each},
                logging_config={"enable_access_log": False, "log_level": "ERROR"},
            )
            serve.run(replicas.bind([ray.put(estimator)], job, name), name="mas-ray", route_prefix="/")
            yield f"http://{job.host}:{job.port}"
        finally:
            with session.quiet_end():
                serve.shutdown()


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ValueError(f"host, port: cannot listen on {host}:{port}: {error.strerror or error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
