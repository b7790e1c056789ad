"""The import contracts, and that they bite: each is broken on purpose in a copy of the package."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"PYTHONPATH": "."})


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "mas_ray", tmp_path / "mas_ray", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_are_kept(copy):
    result = _lint(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        (
            "training/loop.py",
            "from mas_ray import annotations as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "training/data.py",
            "from mas_ray.evaluation import metrics as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "pipelines/worker.py",
            "from mas_ray import annotations as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "pipelines/stage_pictures.py",
            "from mas_ray import annotations as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "pipelines/ablation_training.py",
            "from mas_ray.pipelines import evaluate as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "pipelines/teach.py",
            "from mas_ray.evaluation import metrics as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "pipelines/claim.py",
            "from mas_ray import annotations as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        (
            "ingest/masks/sam.py",
            "from mas_ray import annotations as _",
            "nothing that trains or makes masks can see ground truth",
        ),
        ("losses.py", "import ray as _", "Ray and MLflow stay in pipelines and tracking"),
        ("rendering/skeleton_mask.py", "import cv2 as _", "the mathematics is torch alone"),
        ("shards/schema.py", "import torch as _", "rows and corpora need no torch"),
        ("config/model.py", "import numpy as _", "config is the standard library alone"),
        ("geometry/camera.py", "from mas_ray import losses as _", "imports point down"),
    ],
)
def test_a_broken_contract_is_caught(copy, module, line, contract):
    path = copy / "mas_ray" / module
    marker = "from __future__ import annotations\n"
    text = path.read_text()
    assert marker in text
    path.write_text(text.replace(marker, f"{marker}\n{line}\n", 1))
    result = _lint(copy)
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout


def test_file_names_say_what_is_inside():
    banned = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not [path for path in (ROOT / "mas_ray").rglob("*.py") if path.stem in banned]
