"""The script completes what there is: asked of bash itself."""

from __future__ import annotations

import subprocess

import pytest

from mas_ray.cli.main import VERBS, main


@pytest.fixture(scope="module")
def script() -> str:
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["completion", "bash"]) == 0
    return text.getvalue()


def completed(script: str, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _mas_ray; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    found = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout.split()


def test_bash_completes_verbs_flags_and_files(script, tmp_path):
    assert completed(script, "mas-ray", "") == list(VERBS)
    assert completed(script, "mas-ray", "ev") == ["evaluate"]
    assert completed(script, "mas-ray", "ingest", "--ma") == ["--masks"]
    assert "--checkpoint" in completed(script, "mas-ray", "predict", "--")
    (tmp_path / "dance.mp4").touch()
    assert completed(script, "mas-ray", "predict", str(tmp_path / "da")) == [str(tmp_path / "dance.mp4")]


def test_every_verb_has_flags(script):
    for verb in VERBS:
        assert f'    {verb}) words="--' in script, verb


@pytest.mark.parametrize(("shell", "line"), [("zsh", "bashcompinit"), ("fish", "complete -c mas-ray -n '__fish_seen")])
def test_other_shells(shell, line, capsys):
    assert main(["completion", shell]) == 0
    assert line in capsys.readouterr().out
