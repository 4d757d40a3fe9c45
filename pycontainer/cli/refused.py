"""Options of Docker's that there are not, with the reason and the way out."""

from __future__ import annotations

_WINDOWS = "it is for Windows"
_NO_REAL_TIME = "the kernel's version 2 of cgroups has no real-time groups"
_ONE = "an image is there for one platform"

#: Of what makes containers: option -> why.
_CREATE = {
    "--annotation": "there is no OCI runtime to hand it to; use --label",
    "--attach": "both outputs are shown; say -i for stdin",
    "-a": "both outputs are shown; say -i for stdin",
    "--blkio-weight-device": "--blkio-weight is for all of them",
    "--cgroup-parent": "containers are below the caller's own cgroup",
    "--cpu-rt-period": _NO_REAL_TIME,
    "--cpu-rt-runtime": _NO_REAL_TIME,
    "--device-cgroup-rule": "say --device for each of them",
    "--disable-content-trust": "an image is told by its digest: name@sha256:...",
    "--domainname": "say it in --hostname: --hostname box.example",
    "--gpus": "say --device for its devices, and --volume for its driver",
    "--kernel-memory": "the kernel has it no more since Linux 5.11; --memory counts that memory, too",
    "--link": "containers on one network find each other by name: --network",
    "--link-local-ip": "the kernel chooses it",
    "--log-driver": "there is one: see --log-opt and 'pycontainer logs'",
    "--mac-address": "the kernel chooses it",
    "--memory-swappiness": "the kernel's version 2 of cgroups has none; see --memory-swap",
    "--oom-kill-disable": "the kernel's version 2 of cgroups has none",
    "--runtime": "there is one",
    "--stop-timeout": "say it to 'pycontainer stop --timeout'",
    "--use-api-socket": "there is no daemon, and no socket of its",
    "--volume-driver": "'local' is all there is",
    "--volumes-from": "name the volumes by --volume",
    **dict.fromkeys(
        ("--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops", "--isolation"), _WINDOWS
    ),
    }  # fmt: skip
#: Command -> option -> why.
_WHY = {
    "": {
        **dict.fromkeys(("--host", "-H", "--context", "-c"), "there is no daemon to choose: say --root for another engine"),
        **dict.fromkeys(("--debug", "-D", "--log-level", "-l"), "there is no daemon that would write a log"),
        "--config": "$DOCKER_CONFIG names the directory with the logins",
        **dict.fromkeys(("--tls", "--tlscacert", "--tlscert", "--tlskey", "--tlsverify"), "there is no daemon to speak with"),
    },
    "run": _CREATE,
    "create": {**_CREATE, "--detach": "it is not started: see 'pycontainer start'"},
    "cp": {
        "--archive": "owners are those of the container", "-a": "owners are those of the container",
        "--follow-link": "name what the link leads to", "-L": "name what the link leads to",
    },
    "exec": {
        "--detach-keys": "it ends with this command",
        "--privileged": "a program has the confinement of its container",
    },
    "logs": {"--details": "the log has no more than the output"},
    "ps": {"--size": "see 'pycontainer diff'", "-s": "see 'pycontainer diff'"},
    "rm": {"--link": "there are no links", "-l": "there are no links"},
    "checkpoint ls": {"--checkpoint-dir": "checkpoints are kept with their container"},
    "checkpoint rm": {"--checkpoint-dir": "checkpoints are kept with their container"},
    "history": {"--platform": _ONE}, "image inspect": {"--platform": _ONE}, "push": {"--all-tags": "name the tags", "-a": "name the tags", "--platform": _ONE},
    "rmi": {"--platform": _ONE}, "save": {"--platform": _ONE},
    "system df": dict.fromkeys(("--verbose", "-v"), "see 'pycontainer images', 'ps -a' and 'volume inspect'"),
    "checkpoint create": {"--checkpoint-dir": "checkpoints are kept with their container: 'pycontainer container save' moves both"},
    "start": {"--checkpoint-dir": "checkpoints are kept with their container: 'pycontainer container save' moves both"},
    "stop": {"--signal": "it is told when the container is made; see 'pycontainer kill --signal'", "-s": "see 'pycontainer kill --signal'"},
    "restart": {"--signal": "it is told when the container is made", "-s": "it is told when the container is made"},
    "update": {"--cpu-rt-period": _NO_REAL_TIME, "--cpu-rt-runtime": _NO_REAL_TIME, "--kernel-memory": "the kernel has it no more", "--cpu-period": "say --cpus", "--cpu-quota": "say --cpus"},
    "pull": {"--all-tags": "name the tags", "-a": "name the tags"},
    "images": {"--tree": _ONE},
    "network connect": {
        "--driver-opt": "there are none of a container",
        "--gw-priority": "the first network that is not internal has the default route",
        "--link": "containers on one network find each other by name, and by --alias",
        "--link-local-ip": "the kernel chooses it",
    },
    "network create": {
        "--attachable": "every container may be on it",
        "--aux-address": "take --ip-range, and give addresses outside of it by --ip",
        "--config-from": "say it again",
        "--config-only": "say it again",
        "--ingress": "there is one host",
        "--ipv4": "every network has IPv4",
        "--ipam-driver": "there is one",
        "--ipam-opt": "there is one driver, without options",
        "--scope": "a network is of an engine's root",
    },
    "network inspect": dict.fromkeys(("--verbose", "-v"), "all is told in any case"),
    "volume create": dict.fromkeys(
        ("--availability", "--cluster", "--group", "--limit-bytes", "--required-bytes", "--scope", "--secret", "--sharing",
         "--topology-preferred", "--topology-required", "--type"), "there is one host",
    ),
    "volume ls": {"--cluster": "there is one host"},
}  # fmt: skip
#: Of every command.
_TRUST = {"--disable-content-trust": "an image is told by its digest: name@sha256:..."}


def reason(command: str, option: str) -> str | None:
    """Why there is no such option; ``None``: Docker has none, either."""
    return _WHY.get(command, {}).get(option) or _TRUST.get(option)
