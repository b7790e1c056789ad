import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from mas_ray.cli.main import VERBS, main, run_verb

HEAVY = {"torch", "ray", "mlflow", "cv2", "pyarrow", "numpy"}


def test_help_lists_every_verb_and_loads_nothing_heavy():
    code = (
        "import sys; from mas_ray.cli.main import main; status = main(['--help']);"
        "print('LOADED', *sorted(m for m in sys.modules if '.' not in m)); sys.exit(status)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, loaded = result.stdout.split("LOADED")
    assert all(f"\n  {verb} " in text for verb in VERBS)
    assert not HEAVY & set(loaded.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_describes_itself_without_torch_or_ray(verb):
    code = (
        f"import sys; from mas_ray.cli.main import main\n"
        f"try:\n    main([{verb!r}, '--help'])\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"assert not {{'torch', 'ray', 'mlflow'}} & set(sys.modules), sorted(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"mas-ray {verb}" in result.stdout


def test_unknown_verb(capsys):
    assert main(["trian"]) == 2
    assert "unknown verb 'trian'; expected one of demo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("manifest.json: no such manifest\nmore"), 1, "mas-ray train: manifest.json: no such manifest\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again"),
    ],
)
def test_errors_are_one_line_and_a_status(error, status, text, capsys, monkeypatch):
    def fail(_):
        raise error

    monkeypatch.setattr(importlib.import_module("mas_ray.cli.train"), "run", fail)
    assert main(["train"]) == status
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_ends_a_verb_as_ctrl_c_does(ctrl_c, capsys):
    """Whoever has taken SIGINT over by then gets it, if it is not ignored; the status says which signal came."""
    before, ctrl_c_before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, ctrl_c)

    def run():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        return 0

    try:
        assert run_verb("train", run) == 143
    finally:
        signal.signal(signal.SIGINT, ctrl_c_before)
    assert capsys.readouterr().err == "mas-ray: terminated; run the same command again to go on\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_debug_shows_the_traceback(capsys):
    assert main(["train", "--debug", "--manifest", "nowhere/manifest.json"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_manifest_is_one_line(capsys, tmp_path):
    assert main(["train", "--manifest", str(tmp_path / "manifest.json"), "--storage", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no such manifest" in error
    assert error.count("\n") == 1
