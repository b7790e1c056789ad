"""``mas-ray completion``: a script by which a shell completes verbs and their flags."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from mas_ray.cli.main import VERBS


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Write the script by which a shell completes verbs and flags: `source <(mas-ray completion bash)`."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]


def run(argv: Sequence[str]) -> int:
    """Print the script."""
    flags = tyro.cli(Flags, args=argv, prog="mas-ray completion", description=Flags.__doc__)
    of_verbs = {verb: _flags(verb) for verb in VERBS}
    print(_fish(of_verbs) if flags.shell == "fish" else _bash(of_verbs, zsh=flags.shell == "zsh"))
    return 0


def _flags(verb: str) -> list[str]:
    """The flags that a verb's help names."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        importlib.import_module(f"mas_ray.cli.{verb}").run(["--help"])
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", text.getvalue())))


def _bash(of_verbs: Mapping[str, Sequence[str]], *, zsh: bool) -> str:
    cases = "\n".join(f'    {verb}) words="{" ".join(flags)}" ;;' for verb, flags in of_verbs.items())
    begin = "autoload -U +X bashcompinit && bashcompinit\n" if zsh else ""
    return f"""{begin}_mas_ray() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(of_verbs)}" -- "$current"))
  elif [ "${{current#-}}" != "$current" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F _mas_ray mas-ray"""


def _fish(of_verbs: Mapping[str, Sequence[str]]) -> str:
    lines = [f"complete -c mas-ray -n __fish_use_subcommand -f -a {verb} -d '{VERBS[verb]}'" for verb in of_verbs]
    lines += [
        f"complete -c mas-ray -n '__fish_seen_subcommand_from {verb}' -l {flag.removeprefix('--')}"
        for verb, flags in of_verbs.items()
        for flag in flags
    ]
    return "\n".join(lines)
