"""``python -m mas_ray.cli.submitted VERB``: what a cluster runs for ``mas-ray submit``."""

from __future__ import annotations

import importlib
import os
import sys

from mas_ray import __version__
from mas_ray.cli.main import run_verb
from mas_ray.config import codec
from mas_ray.pipelines.submission import RECORD, VERBS, Record


def _run() -> int:
    text = os.environ.get(RECORD)
    if text is None:
        raise ValueError(f"{RECORD}: not set; this is for `mas-ray submit` to run")
    record = codec.loads(Record, text, RECORD)
    if record.code_version != __version__:
        print(f"mas-ray {__version__} runs here, the job comes from {record.code_version}", file=sys.stderr)
    return importlib.import_module(f"mas_ray.cli.{VERBS[type(record.job)]}").show(record.job)


if __name__ == "__main__":
    sys.exit(run_verb(sys.argv[1], _run))
