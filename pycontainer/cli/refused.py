"""Options of Docker's that there are not, with the reason and the way out."""

from __future__ import annotations

_DETACHED = "containers end with the command that has started them"
_NETWORK = "there are 'none' and 'host': --network host"
_HEALTH = "nothing asks for the health of a container"
_WINDOWS = "it is for Windows"

#: Command -> option -> why.
_WHY = {
    "run": {
        "--add-host": f"{_NETWORK}; or mount a file on /etc/hosts",
        "--annotation": "there is no OCI runtime to hand it to; use --label",
        "--attach": "both outputs are shown; say -i for stdin",
        "-a": "both outputs are shown; say -i for stdin",
        "--blkio-weight-device": "--blkio-weight is for all of them",
        "--cgroup-parent": "containers are below the caller's own cgroup",
        "--cpu-rt-period": "the kernel's version 2 of cgroups has no real-time groups",
        "--cpu-rt-runtime": "the kernel's version 2 of cgroups has no real-time groups",
        "--detach": _DETACHED,
        "-d": _DETACHED,
        "--detach-keys": _DETACHED,
        "--device-cgroup-rule": "say --device for each of them",
        "--disable-content-trust": "an image is told by its digest: name@sha256:...",
        "--dns": _NETWORK,
        "--dns-option": _NETWORK,
        "--dns-search": _NETWORK,
        "--domainname": "say it in --hostname: --hostname box.example",
        "--expose": _NETWORK,
        "--gpus": "say --device for its devices, and --volume for its driver",
        "--ip": _NETWORK,
        "--ip6": _NETWORK,
        "--kernel-memory": "the kernel has it no more since Linux 5.11; --memory counts that memory, too",
        "--link": "it is Docker's own past",
        "--link-local-ip": _NETWORK,
        "--log-driver": "both outputs are shown; redirect them",
        "--log-opt": "both outputs are shown; redirect them",
        "--mac-address": _NETWORK,
        "--memory-swappiness": "the kernel's version 2 of cgroups has none; see --memory-swap",
        "--network-alias": _NETWORK,
        "--oom-kill-disable": "the kernel's version 2 of cgroups has none",
        "--publish": _NETWORK,
        "-p": _NETWORK,
        "--publish-all": _NETWORK,
        "-P": _NETWORK,
        "--restart": _DETACHED,
        "--runtime": "there is one",
        "--stop-timeout": "containers are stopped by signals to this command",
        "--volume-driver": "'local' is all there is",
        "--volumes-from": "name the volumes by --volume",
        **dict.fromkeys(
            (
                "--health-cmd", "--health-interval", "--health-retries", "--health-start-interval",
                "--health-start-period", "--health-timeout", "--no-healthcheck",
            ),
            _HEALTH,
        ),
        **dict.fromkeys(
            ("--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops", "--isolation"), _WINDOWS
        ),
    },
    "pull": {"--all-tags": "name the tags", "-a": "name the tags"},
    "push": {"--all-tags": "name the tags", "-a": "name the tags"},
    "import": {"--change": "'docker build' or 'buildah build' sets the configuration", "-c": "'docker build' sets it"},
    "images": {"--tree": "an image is there for one platform"},
    "volume create": {"--cluster": "there is one host"},
}  # fmt: skip
#: Of every command.
_TRUST = {"--disable-content-trust": "an image is told by its digest: name@sha256:..."}


def reason(command: str, option: str) -> str | None:
    """Why there is no such option; ``None``: Docker has none, either."""
    return _WHY.get(command, {}).get(option) or _TRUST.get(option)
