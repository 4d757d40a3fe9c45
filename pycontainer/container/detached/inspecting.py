"""What there is to tell of a container, in the manner of ``docker inspect``: Docker's keys, where it has them."""

from __future__ import annotations

import datetime
import signal
from typing import TYPE_CHECKING, Any

from pycontainer.container.detached.settings import host_config, network_settings
from pycontainer.container.logreader import log_numbers
from pycontainer.container.mounts import Bind, ImageMount, Tmpfs, VolumeMount
from pycontainer.errors import VolumeNotFound

if TYPE_CHECKING:
    from pycontainer.container.detached.container import Detached
    from pycontainer.container.spec import Spec

_NEVER = "0001-01-01T00:00:00Z"


def time_text(nanoseconds: int) -> str:
    """A time as Docker writes it (RFC 3339 with nanoseconds)."""
    if nanoseconds == 0:
        return _NEVER
    whole, rest = divmod(nanoseconds, 10**9)
    moment = datetime.datetime.fromtimestamp(whole, tz=datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def inspect(container: Detached) -> dict[str, Any]:
    """A dictionary that JSON can say."""
    spec, keeping, run = container.spec, container.keeping, container.run_state
    folder = container._home.folder
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Created": time_text(round(container.created * 1e9)),
        "Path": spec.argv[0],
        "Args": list(spec.argv[1:]),
        "Image": spec.image.digest,
        "State": _state(container),
        "RestartCount": run.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "LogPath": f"{folder}/log.{max(log_numbers(folder), default=1)}",
        "Config": {
            "Image": spec.image.name,
            "Hostname": spec.hostname or container.id[:12],
            "User": spec.user,
            "Env": [f"{name}={value}" for name, value in spec.env],
            **_command(spec),
            "WorkingDir": spec.workdir,
            "Labels": dict(spec.labels),
            "Tty": bool(spec.tty),
            "OpenStdin": keeping.stdin_open,
            "StopSignal": _signal(spec.stop_signal),
            "ExposedPorts": {port: {} for port in spec.image.config.exposed_ports},
            "Healthcheck": _healthcheck(container),
        },
        "HostConfig": {
            **host_config(spec.network),
            "RestartPolicy": {"Name": keeping.restart.policy, "MaximumRetryCount": keeping.restart.retries},
            "Binds": [_bind(mount) for mount, _ in spec.mounts if isinstance(mount, (Bind, VolumeMount))],
            "AutoRemove": keeping.auto_remove,
            "ReadonlyRootfs": spec.read_only,
            "Init": spec.init,
            "ShmSize": spec.shm_size,
            "OomScoreAdj": spec.oom_score_adj,
            "CapAdd": sorted(spec.security.capabilities),
            "UsernsMode": str(spec.security.userns),
            "LogConfig": {
                "Type": "cri",
                "Config": {"max-size": keeping.log_size, "max-file": keeping.log_files},
            },
            **_limits(container),
        },
        "NetworkSettings": network_settings(container),
        "Mounts": [_mount(container, mount) for mount, _ in spec.mounts],
    }


def _command(spec: Spec) -> dict[str, Any]:
    """The image's entrypoint apart, where it is what is run."""
    first = spec.image.config.entrypoint
    if spec.argv[: len(first)] != first:
        first = ()
    return {"Entrypoint": list(first), "Cmd": list(spec.argv[len(first) :])}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a signal of real time
        return str(number)


def _state(container: Detached) -> dict[str, Any]:
    run, status = container.run_state, container.status
    state = {
        "Status": status,
        "Running": status in {"running", "paused", "restarting"},
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "Dead": status == "dead",
        "OOMKilled": run.oom_killed,
        "Pid": run.pid,
        # As in Docker, also of one that has not ended; `exit_code` tells the two apart.
        "ExitCode": run.code or 0,
        "Error": ""
        if run.failure is None
        else f"the start failed: step {run.failure[0]}, errno {run.failure[1]}",
        "StartedAt": time_text(run.started),
        "FinishedAt": time_text(run.finished),
    }
    if container.keeping.health is not None:
        state["Health"] = {
            "Status": run.health,
            "FailingStreak": run.streak,
            "Log": [
                {
                    "Start": time_text(each.began),
                    "End": time_text(each.ended),
                    "ExitCode": each.exit_code,
                    "Output": each.output.decode(errors="replace"),
                }
                for each in container.health_log()
            ],
        }
    return state


def _healthcheck(container: Detached) -> dict[str, Any] | None:
    check = container.keeping.health
    if check is None:
        return None
    times = {"Interval": check.interval, "Timeout": check.timeout, "StartPeriod": check.start_period,
             "StartInterval": check.start_interval}  # fmt: skip
    nanoseconds = {name: round(value * 1e9) for name, value in times.items()}
    return {"Test": ["CMD", *check.test], **nanoseconds, "Retries": check.retries}


def _limits(container: Detached) -> dict[str, Any]:
    limits = container.spec.bounds.limits
    return {
        "Memory": limits.memory_max or 0,
        "NanoCpus": round((limits.cpu_max or 0) * 1e9),
        "PidsLimit": limits.pids_max,
        "CpusetCpus": limits.cpuset_cpus or "",
    }


def _bind(mount: Bind | VolumeMount) -> str:
    """As ``docker run -v`` writes it."""
    return f"{mount.source or ''}:{mount.target}{':ro' if mount.read_only else ''}".removeprefix(":")


def _mount(container: Detached, mount: Any) -> dict[str, Any]:
    found: dict[str, Any]
    if isinstance(mount, Bind):
        found = {"Type": "bind", "Source": mount.source}
    elif isinstance(mount, Tmpfs):
        found = {"Type": "tmpfs", "Source": ""}
    elif isinstance(mount, VolumeMount):
        name = mount.source or ""
        found = {"Type": "volume", "Name": name, "Source": _volume(container, name), "Driver": "local"}
    else:
        assert isinstance(mount, ImageMount)  # noqa: S101  there is no other
        found = {"Type": "image", "Source": str(mount.image)}
    read_only = getattr(mount, "read_only", False)
    return {
        **found,
        "Destination": mount.target,
        "Mode": "ro" if read_only else "",
        "RW": not read_only,
        "Propagation": getattr(mount, "propagation", ""),
    }


def _volume(container: Detached, name: str) -> str:
    """Where a volume's files are on the host; nothing for one without a name, and for one that is gone."""
    from pycontainer.volume import volumes_at

    if not name:
        return ""
    try:
        return volumes_at(container._workspace.root).get(name).mountpoint
    except VolumeNotFound:
        return ""
