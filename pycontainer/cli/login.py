"""``login`` and ``logout``."""

from __future__ import annotations

import sys

from pycontainer.cli.command import Call, Command
from pycontainer.cli.parser import Parser
from pycontainer.cli.transfer import tls_option
from pycontainer.errors import InvalidArgument

_HUB = "docker.io"
_LONGEST = 1 << 16


def _options(parser: Parser) -> None:
    parser.value("--password", "-p", help="Password; others may see it, better: --password-stdin")
    parser.flag("--password-stdin", help="Take the password from stdin")
    tls_option(parser)
    parser.value("--username", "-u", help="Username")


def _login(call: Call) -> None:
    from pycontainer.image.registry.login import login

    given = call.given
    host = _host(call.words)
    user = given.username or _asked("Username: ", secret=False)
    kept = login(host, user, _password(call), insecure=not given.tls_verify)
    if not kept.startswith("docker-credential-"):
        print(
            f"WARNING! Your credentials are stored unencrypted in '{kept}'; a credential helper keeps them better.",
            file=sys.stderr,
        )
    print("Login Succeeded")


def _password(call: Call) -> str:
    given = call.given
    if given.password_stdin:
        if given.password is not None:
            raise InvalidArgument("password", "...", "give either --password or --password-stdin")
        if given.username is None:
            raise InvalidArgument("password-stdin", "", "give --username, too: stdin is the password")
        return sys.stdin.read(_LONGEST).rstrip("\r\n")
    if given.password is not None:
        return str(given.password)
    return _asked("Password: ", secret=True)


def _asked(question: str, *, secret: bool) -> str:
    if not sys.stdin.isatty():
        raise InvalidArgument("username", "", "stdin is no terminal: give --username and --password-stdin")
    if secret:
        import getpass

        return getpass.getpass(question)
    print(question, end="", flush=True)
    return sys.stdin.readline().strip()


def _host(words: list[str]) -> str:
    """A registry as in names of images; addresses are cut down to that, as Docker does."""
    if not words:
        return _HUB
    host = words[0].partition("://")[2] or words[0]
    host = host.partition("/")[0]
    return _HUB if host in {"index.docker.io", "registry-1.docker.io"} else host


LOGIN = Command("[OPTIONS] [SERVER]", _login, _options, most=1)


def _logout(call: Call) -> None:
    from pycontainer.image.registry.login import logout

    host = _host(call.words)
    print(f"Removing login credentials for {host}" if logout(host) else f"Not logged in to {host}")


LOGOUT = Command("[SERVER]", _logout, most=1)
