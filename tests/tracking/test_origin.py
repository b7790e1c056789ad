import subprocess
from pathlib import Path

import pytest

from mas_ray.tracking.origin import environment, git_commit


def _git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def test_the_commit_of_a_checkout_and_whether_it_was_changed(package):
    _git(package.parent, "init", "-q")
    _git(package.parent, "add", ".")
    _git(package.parent, "commit", "-q", "-m", "m")
    commit = _git(package.parent, "rev-parse", "HEAD")
    (package.parent / "notes").touch()  # not of the package
    assert git_commit(package) == commit
    (package / "__init__.py").write_text("changed")
    assert git_commit(package) == f"{commit}-dirty"


def test_a_package_installed_inside_somebody_elses_checkout_has_none(package):
    _git(package.parent, "init", "-q")
    _git(package.parent, "commit", "-q", "--allow-empty", "-m", "m")
    assert git_commit(package) is None


def test_no_checkout_and_no_git(package, monkeypatch):
    assert git_commit(package) is None
    monkeypatch.setenv("PATH", str(package))
    assert git_commit(Path(__file__).parent) is None
    assert "mlflow.source.git.commit" not in environment()


def test_the_environment_is_told():
    found = environment()
    assert {"mas_ray.version", "python.version", "torch.version", "ray.version", "mlflow.version"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
