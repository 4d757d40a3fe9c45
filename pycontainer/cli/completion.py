"""``completion``: the words of the command line for bash, zsh and fish, and the answers that these ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from pycontainer.cli import catalog
from pycontainer.cli.command import Call, Command
from pycontainer.errors import InvalidArgument, PyContainerError

#: The answer where the shell is to offer files.
FILES = ":files"

_BASH = """\
_pycontainer() {
    local IFS=$'\\n' answer
    answer=$(pycontainer __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $answer == :files ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        return
    fi
    COMPREPLY=($answer)
    # What is behind a colon is a word of its own to readline.
    local word=${COMP_WORDS[COMP_CWORD]}
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word"
}
complete -F _pycontainer pycontainer
"""
_ZSH = """\
#compdef pycontainer
_pycontainer() {
    local -a answer
    answer=("${(@f)$(pycontainer __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${answer[1]} == :files ]]; then
        _files
    else
        compadd -Q -- $answer
    fi
}
if [[ ${funcstack[1]} == _pycontainer ]]; then
    _pycontainer "$@"
else
    compdef _pycontainer pycontainer
fi
"""
_FISH = """\
function __pycontainer_complete
    set -l typed (commandline -opc)
    set -l answer (pycontainer __complete $typed[2..] (commandline -ct) 2>/dev/null)
    if test "$answer[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $answer
    end
end
complete -c pycontainer -f -a '(__pycontainer_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def _run(call: Call) -> None:
    shell = call.words[0]
    if shell not in _SCRIPTS:
        raise InvalidArgument("shell", shell, f"one of {', '.join(_SCRIPTS)} is needed")
    print(_SCRIPTS[shell], end="")


COMPLETION = Command("bash|zsh|fish", _run, least=1, most=1, completes=("shell",))


def answer(words: list[str]) -> None:
    """Print what may be in the place of the last word."""
    *before, last = words or [""]
    found = list(dict.fromkeys(_next(before, last)))
    for each in [FILES] if FILES in found else sorted(each for each in found if each.startswith(last)):
        print(each)


def _next(before: list[str], last: str) -> Iterator[str]:
    root = None
    while before[:1] == ["--root"]:
        root, before = [*before, ""][1], before[2:]
    group = before[0] if before and before[0] in catalog.GROUPS else ""
    if not before:
        yield from catalog.within("")
        yield from catalog.GROUPS
        yield from ("--root", "--version", "--help")
        return
    if group and len(before) == 1:
        yield from catalog.within(group)
        return
    name = " ".join(before[:2]) if group else before[0]
    name = catalog.ALIASES.get(name, name)
    if name in catalog.COMMANDS:
        yield from _of_command(name, before[2 if group else 1 :], last, root)


def _of_command(name: str, before: list[str], last: str, root: str | None) -> Iterator[str]:
    from pycontainer.cli.dispatch import parser_of
    from pycontainer.cli.parser import UsageError

    command = catalog.load(name)
    parser = parser_of(name, command)
    try:
        _, others = parser.read(before, interspersed=command.interspersed)
    except UsageError:  # an option waits for its value
        yield FILES
        return
    if last.startswith("-") and (command.interspersed or not others):
        yield from (option for option in parser.known if option.startswith("--"))
    elif command.completes:
        yield from _things(command.completes[min(len(others), len(command.completes) - 1)], root)
    elif command.most:
        yield FILES


def _things(kind: str, root: str | None) -> Iterator[str]:
    if kind == "shell":
        yield from _SCRIPTS
        return
    if kind == "file":
        yield FILES
        return
    from argparse import Namespace

    call = Call("__complete", Namespace(), [], root)
    with suppress(PyContainerError):
        if os.path.isdir(call.root):
            if kind == "container":
                yield from (each.name for each in call.engine.containers.list(all=True))
            elif kind == "image":
                yield from (image.name for image in call.images.list())
            elif kind == "network":
                yield from (network.name for network in call.networks.list())
            elif kind == "volume":
                yield from (volume.name for volume in call.volumes.list())
    call.close()
