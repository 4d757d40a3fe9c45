"""The commands there are, by name; each is in a module that is loaded when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pycontainer.cli.command import Command


class Entry(NamedTuple):
    """Where a command is, and what help says of it in a line."""

    module: str
    name: str
    summary: str


#: Commands of one word, and of a group and a word.
COMMANDS = {
    "completion": Entry(
        "completion", "COMPLETION", "Print what makes a shell complete the words of pycontainer"
    ),
    "doctor": Entry("doctor", "DOCTOR", "Tell what this host can do, and how to mend what it cannot"),
    "history": Entry("history", "HISTORY", "Show the history of an image"),
    "images": Entry("images", "IMAGES", "List images"),
    "import": Entry("archives", "IMPORT", "Import the contents from a tarball to create a filesystem image"),
    "info": Entry("info", "INFO", "Display what the engine is and has"),
    "inspect": Entry("inspect", "INSPECT", "Return low-level information on objects"),
    "load": Entry("archives", "LOAD", "Load images from a tar archive or STDIN"),
    "login": Entry("login", "LOGIN", "Authenticate to a registry"),
    "logout": Entry("login", "LOGOUT", "Log out from a registry"),
    "pull": Entry("transfer", "PULL", "Download an image from a registry"),
    "push": Entry("transfer", "PUSH", "Upload an image to a registry"),
    "rmi": Entry("images", "REMOVE", "Remove one or more images"),
    "run": Entry("run", "RUN", "Create and run a new container from an image"),
    "save": Entry(
        "archives", "SAVE", "Save one or more images to a tar archive (streamed to STDOUT by default)"
    ),
    "tag": Entry("images", "TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "version": Entry("version", "VERSION", "Show the version information"),
    "image inspect": Entry("inspect", "INSPECT_IMAGE", "Display detailed information on one or more images"),
    "image prune": Entry("images", "PRUNE", "Remove unused images"),
    "network create": Entry("networks", "CREATE", "Create a network"),
    "network inspect": Entry(
        "inspect", "INSPECT_NETWORK", "Display detailed information on one or more networks"
    ),
    "network ls": Entry("networks", "LIST", "List networks"),
    "network prune": Entry("networks", "PRUNE", "Remove all unused networks"),
    "network rm": Entry("networks", "REMOVE", "Remove one or more networks"),
    "system df": Entry("system", "USAGE", "Show disk usage"),
    "system prune": Entry("system", "PRUNE", "Remove unused data"),
    "volume create": Entry("volumes", "CREATE", "Create a volume"),
    "volume inspect": Entry(
        "inspect", "INSPECT_VOLUME", "Display detailed information on one or more volumes"
    ),
    "volume ls": Entry("volumes", "LIST", "List volumes"),
    "volume prune": Entry("volumes", "PRUNE", "Remove unused local volumes"),
    "volume rm": Entry("volumes", "REMOVE", "Remove one or more volumes"),
}

#: Further names, as Docker has them.
ALIASES = {
    "container run": "run",
    "image history": "history",
    "image import": "import",
    "image list": "images",
    "image load": "load",
    "image ls": "images",
    "image pull": "pull",
    "image push": "push",
    "image remove": "rmi",
    "image rm": "rmi",
    "image save": "save",
    "image tag": "tag",
    "network list": "network ls",
    "network remove": "network rm",
    "system info": "info",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

GROUPS = {
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

#: Docker's commands that there are not, with the reason and the way out.
REFUSED = {
    "search": "registries other than Docker Hub have no search: look there, and pull by name",
    "build": "'docker build' or 'buildah build' makes images, which 'pull' and 'load' take",
    "buildx": "'docker build' or 'buildah build' makes images, which 'pull' and 'load' take",
    "compose": "there are no projects of several containers",
    "context": "there is no daemon to choose: say --root for another engine",
    "plugin": "there is no daemon that would have plugins",
    "swarm": "there is one host",
    "service": "there is one host",
    "stack": "there is one host",
    "node": "there is one host",
    "secret": "there is one host; give a file by --mount",
    "config": "there is one host; give a file by --mount",
    "trust": "an image is told by its digest: name@sha256:...",
    "manifest": "images are pulled for one platform: --platform",
    "checkpoint": "the processes of a container cannot be kept",
}


def load(name: str) -> Command:
    """The command of that name in the catalogue."""
    from importlib import import_module

    entry = COMMANDS[name]
    command: Command = getattr(import_module(f"pycontainer.cli.{entry.module}"), entry.name)
    return command


def within(group: str) -> dict[str, str]:
    """The commands of a group, by the word after it, with their summaries; ``""`` is all of one word."""
    found = {}
    prefix = f"{group} " if group else ""
    for name, target in {**{each: each for each in COMMANDS}, **ALIASES}.items():
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and " " not in rest and rest not in {"list", "remove"}:
            found[rest] = COMMANDS[target].summary
    return dict(sorted(found.items()))
