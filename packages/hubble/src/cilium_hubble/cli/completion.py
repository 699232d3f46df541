# SPDX-License-Identifier: Apache-2.0
"""`hubble completion bash|zsh|fish`: a script made of the parser's own commands and flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script of a shell."""
    words = dict(_words(parser, ()))
    if shell == "fish":
        return "".join(_fish(words))
    cases = "".join(
        f'    "{" ".join(path)}") words="{" ".join(known)}" ;;\n' for path, known in words.items()
    )
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{head}_hubble() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in -*) ;; *) path="${{path:+$path }}${{COMP_WORDS[i]}}" ;; esac
  done
  case "$path" in
{cases}    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _hubble hubble
"""


def _words(
    parser: argparse.ArgumentParser, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    flags = [o for action in parser._actions for o in action.option_strings if o[:2] == "--"]
    choices = [action for action in parser._actions if action.choices and not action.option_strings]
    names = [str(name) for action in choices for name in action.choices or ()]
    yield path, [*names, *flags]
    for action in choices:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _words(child, (*path, name))
        else:
            for name in action.choices or ():
                yield (*path, str(name)), flags


def _fish(words: dict[tuple[str, ...], list[str]]) -> Iterator[str]:
    yield "complete -c hubble -f\n"
    for path, known in words.items():
        seen = " ".join(f"and __fish_seen_subcommand_from {name};" for name in path)
        when = seen.removeprefix("and ").rstrip(";") or "__fish_use_subcommand"
        for word in known:
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            yield f"complete -c hubble -n '{when}' {what}\n"
