"""Where a Segment Anything checkpoint lies on this machine; asked before anything is loaded, without torch."""

from __future__ import annotations

from pathlib import Path

from mas_ray import assets
from mas_ray.config.ingest import SamMasks
from mas_ray.shards.manifest import file_sha256


def local_checkpoint(config: SamMasks) -> Path:
    """The checkpoint of the expected hash; a URL is fetched into the cache.

    Raises:
        ValueError: The file is missing or has another hash.
        AssetUnavailableError: The URL cannot be fetched, or what it gives has another hash.
    """
    if config.checkpoint.startswith(("http://", "https://")):
        return assets.fetch_url(config.checkpoint, sha256=config.sha256)
    path = Path(config.checkpoint)
    if not path.is_file():
        raise ValueError(f"masks.checkpoint: {path} does not exist")
    found = file_sha256(path)
    if found != config.sha256:
        raise ValueError(f"masks.sha256: {path} has {found}, expected {config.sha256}")
    return path
