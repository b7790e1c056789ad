"""Where a run comes from: the code, the versions it ran with, the dataset."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import mas_ray

_PACKAGES = ("torch", "ray", "mlflow", "numpy", "pyarrow")
_GIT_TIMEOUT_S = 10.0


def environment() -> dict[str, str]:
    """Versions of Python, mas-ray and what it stands on, the platform, and the git commit if there is one."""
    commit = git_commit(Path(mas_ray.__file__).parent)
    return {
        "mas_ray.version": mas_ray.__version__,
        "python.version": platform.python_version(),
        "platform": platform.platform(),
        **{f"{package}.version": importlib.metadata.version(package) for package in _PACKAGES},
        **({"mlflow.source.git.commit": commit} if commit else {}),  # MLflow's name for it; its pages show it
    }


def git_commit(package: Path) -> str | None:
    """The commit of the git checkout that a package's code is of; None if it is installed from elsewhere.

    It ends in ``-dirty`` if the package's files are not those of the commit.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:  # the checkout may be somebody else's
        return None
    commit, changes = _git(package, "rev-parse", "HEAD"), _git(package, "status", "--porcelain", ".")
    return f"{commit}-dirty" if commit and changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
