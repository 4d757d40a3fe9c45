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
    "attach": Entry(
        "output", "ATTACH", "Attach local standard input, output, and error streams to a running container"
    ),
    "commit": Entry("files", "COMMIT", "Create a new image from a container's changes"),
    "completion": Entry(
        "completion", "COMPLETION", "Print what makes a shell complete the words of pycontainer"
    ),
    "cp": Entry("files", "COPY", "Copy files/folders between a container and the local filesystem"),
    "create": Entry("run", "CREATE", "Create a new container"),
    "diff": Entry("files", "DIFF", "Inspect changes to files or directories on a container's filesystem"),
    "doctor": Entry("doctor", "DOCTOR", "Tell what this host can do, and how to mend what it cannot"),
    "events": Entry("events", "EVENTS", "Get what happens to containers, as it happens"),
    "exec": Entry("exec", "EXEC", "Execute a command in a running container"),
    "export": Entry("files", "EXPORT", "Export a container's filesystem as a tar archive"),
    "history": Entry("history", "HISTORY", "Show the history of an image"),
    "images": Entry("images", "IMAGES", "List images"),
    "import": Entry("archives", "IMPORT", "Import the contents from a tarball to create a filesystem image"),
    "info": Entry("info", "INFO", "Display what the engine is and has"),
    "inspect": Entry("inspect", "INSPECT", "Return low-level information on objects"),
    "kill": Entry("lifecycle", "KILL", "Kill one or more running containers"),
    "load": Entry("archives", "LOAD", "Load images from a tar archive or STDIN"),
    "login": Entry("login", "LOGIN", "Authenticate to a registry"),
    "logout": Entry("login", "LOGOUT", "Log out from a registry"),
    "logs": Entry("output", "LOGS", "Fetch the logs of a container"),
    "pause": Entry("lifecycle", "PAUSE", "Pause all processes within one or more containers"),
    "port": Entry("ports", "PORT", "List port mappings or a specific mapping for the container"),
    "ps": Entry("containers", "PS", "List containers"),
    "pull": Entry("transfer", "PULL", "Download an image from a registry"),
    "push": Entry("transfer", "PUSH", "Upload an image to a registry"),
    "rename": Entry("lifecycle", "RENAME", "Rename a container"),
    "restart": Entry("lifecycle", "RESTART", "Restart one or more containers"),
    "rm": Entry("lifecycle", "REMOVE", "Remove one or more containers"),
    "rmi": Entry("images", "REMOVE", "Remove one or more images"),
    "run": Entry("run", "RUN", "Create and run a new container from an image"),
    "save": Entry(
        "archives", "SAVE", "Save one or more images to a tar archive (streamed to STDOUT by default)"
    ),
    "start": Entry("lifecycle", "START", "Start one or more stopped containers"),
    "stats": Entry("usage", "STATS", "Display a live stream of container(s) resource usage statistics"),
    "stop": Entry("lifecycle", "STOP", "Stop one or more running containers"),
    "tag": Entry("images", "TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    "top": Entry("usage", "TOP", "Display the running processes of a container"),
    "unpause": Entry("lifecycle", "UNPAUSE", "Unpause all processes within one or more containers"),
    "update": Entry("lifecycle", "UPDATE", "Update configuration of one or more containers"),
    "version": Entry("version", "VERSION", "Show the version information"),
    "wait": Entry(
        "lifecycle", "WAIT", "Block until one or more containers stop, then print their exit codes"
    ),
    "checkpoint create": Entry("checkpoints", "CREATE", "Create a checkpoint from a running container"),
    "checkpoint ls": Entry("checkpoints", "LIST", "List checkpoints for a container"),
    "checkpoint rm": Entry("checkpoints", "REMOVE", "Remove a checkpoint"),
    "container inspect": Entry(
        "inspect", "INSPECT_CONTAINER", "Display detailed information on one or more containers"
    ),
    "container load": Entry(
        "moving", "LOAD", "Load a container from an archive of 'container save' or STDIN"
    ),
    "container prune": Entry("lifecycle", "PRUNE", "Remove all stopped containers"),
    "container save": Entry(
        "moving", "SAVE", "Save a stopped container with its image and changes to an archive"
    ),
    "image inspect": Entry("inspect", "INSPECT_IMAGE", "Display detailed information on one or more images"),
    "image prune": Entry("images", "PRUNE", "Remove unused images"),
    "network connect": Entry("connecting", "CONNECT", "Connect a container to a network"),
    "network create": Entry("networks", "CREATE", "Create a network"),
    "network disconnect": Entry("connecting", "DISCONNECT", "Disconnect a container from a network"),
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
    "checkpoint list": "checkpoint ls",
    "checkpoint remove": "checkpoint rm",
    "container attach": "attach",
    "container commit": "commit",
    "container cp": "cp",
    "container create": "create",
    "container diff": "diff",
    "container exec": "exec",
    "container export": "export",
    "container kill": "kill",
    "container logs": "logs",
    "container pause": "pause",
    "container port": "port",
    "container rename": "rename",
    "container restart": "restart",
    "container rm": "rm",
    "container start": "start",
    "container stats": "stats",
    "container stop": "stop",
    "container top": "top",
    "container unpause": "unpause",
    "container update": "update",
    "container wait": "wait",
    "container list": "ps",
    "container ls": "ps",
    "container ps": "ps",
    "container remove": "rm",
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
    "system events": "events",
    "system info": "info",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

GROUPS = {
    "checkpoint": "Manage checkpoints",
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

_BUILT = "'docker build' or 'buildah build' makes images, which 'pull' and 'load' take"
#: Docker's commands that there are not, with the reason and the way out.
REFUSED = {
    "search": "registries other than Docker Hub have no search: look there, and pull by name",
    "build": _BUILT,
    "builder": _BUILT,
    "image build": _BUILT,
    "buildx": _BUILT,
    "compose": "there are no projects of several containers",
    "context": "there is no daemon to choose: say --root for another engine",
    "plugin": "there is no daemon that would have plugins",
    "swarm": "there is one host",
    "service": "there is one host",
    "stack": "there is one host",
    "node": "there is one host",
    "secret": "there is one host; give a file by --mount",
    "config": "there is one host; give a file by --mount",
    "volume update": "there is one host",
    "trust": "an image is told by its digest: name@sha256:...",
    "manifest": "images are pulled for one platform: --platform",
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
