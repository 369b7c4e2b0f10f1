"""`noiseprompt completion bash | zsh`: a script that completes commands, options, and the names some of them take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from noiseprompt.cli.table import COMMANDS, Command
from noiseprompt.core.errors import InputError

SHELLS = ("bash", "zsh")

_LISTS = ("methods", "method", "scorers", "validation_scorers", "reward")
"""Options that take names of a table, several with commas."""


def completion(shell: str) -> None:
    """Print a completion script, to be read by the shell: `eval "$(noiseprompt completion bash)"`.

    Args:
        shell: bash or zsh.

    Raises:
        InputError: another shell.
    """
    if shell not in SHELLS:
        raise InputError(f"shell {shell!r}", f"one of {', '.join(SHELLS)}")
    print(script(shell))


def script(shell: str) -> str:
    """The script; everything it knows stands in it, so that a key press starts no program."""
    known = list(_commands(COMMANDS, ()))
    cases = "\n".join(
        f"    {shlex.quote(' '.join(path))}) words={shlex.quote(' '.join(words))};;" for path, words, _ in known
    )
    values = "\n".join(
        f"    {shlex.quote(' '.join((*path, option)))}) values={shlex.quote(' '.join(names))};;"
        for path, _, choices in known
        for option, names in choices.items()
    )
    groups = "|".join(shlex.quote(" ".join(path)) for path, words, _ in known if "--config" not in words and path)
    text = _BASH.replace("@GROUPS@", groups).replace("@CASES@", cases).replace("@VALUES@", values)
    return f"autoload -U +X bashcompinit && bashcompinit\n{text}" if shell == "zsh" else text


def _commands(
    commands: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], list[str], dict[str, list[str]]]]:
    """(words of a command, what may follow, option -> its values) of every command and group of commands."""
    yield path, [*commands, "--help", *([] if path else ["--version"])], {}
    for name, command in commands.items():
        if isinstance(command, dict):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), *_options(command)


def _options(command: Command) -> tuple[list[str], dict[str, list[str]]]:
    from noiseprompt.cli.entry import option_parser

    parser = option_parser(command)
    words: list[str] = []
    choices: dict[str, list[str]] = {}
    for action in parser._actions:
        options = [word for word in action.option_strings if word.startswith("--")]
        words += options
        names = _names(action)
        if names:
            choices |= dict.fromkeys(options or [""], names)
    return words, choices


def _names(action: Any) -> list[str]:
    """What an option may be, where that is a list of words."""
    if action.dest in _LISTS:
        from noiseprompt.methods.table import METHODS
        from noiseprompt.scorers.table import SCORERS

        return list(METHODS if action.dest in ("methods", "method") else SCORERS)
    kind = getattr(action, "_typehint", None)
    if kind is bool:
        return ["true", "false"]
    if get_origin(kind) is Literal:
        return [str(one) for one in get_args(kind)]
    limits = getattr(action, "limits", None)
    return [str(word) for word in getattr(limits, "words", None) or ()]


_BASH = r"""_noiseprompt() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" path="" words="" values="" group=1 i found
  for ((i = 1; i < COMP_CWORD && group; i++)); do
    [[ "${COMP_WORDS[i]}" == -* ]] && break
    path="${path:+$path }${COMP_WORDS[i]}"
    case "$path" in
      @GROUPS@) ;;
      *) group="";;
    esac
  done
  case "$path" in
@CASES@
  esac
  case "$path $before" in
@VALUES@
  esac
  COMPREPLY=()
  if [[ -n "$values" ]]; then
    local head=""
    [[ "$word" == *,* ]] && head="${word%,*},"
    for found in $(compgen -W "$values" -- "${word##*,}"); do COMPREPLY+=("$head$found"); done
  elif [[ -n "$group" || "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
}
complete -o default -F _noiseprompt noiseprompt"""
