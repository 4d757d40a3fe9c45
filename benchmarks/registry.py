"""A registry on the loopback, with images in it: docker-registry with a configuration and a directory of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator

from benchmarks.benchmark import BenchmarkError
from benchmarks.layers import Packed
from benchmarks.peers import found

_PATIENCE = 20.0


@contextlib.contextmanager
def registry(folder: str) -> Iterator[str]:
    """Its address, as a host with a port; its files are in ``folder`` and it ends with the context."""
    address = f"127.0.0.1:{_free_port()}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/registry"}},
        "http": {"addr": address, "secret": "nobody else is asked"},
    }
    with open(f"{folder}/registry.json", "w", encoding="ascii") as file:
        json.dump(config, file)  # which is YAML, too
    # Its own telemetry would ask the network.
    env = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [found("docker-registry"), "serve", file.name],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=env,
        )
        try:
            _await(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError), contextlib.closing(_connection(address)) as connection:
            connection.request("GET", "/v2/")
            if connection.getresponse().status == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError("docker-registry does not serve")
        time.sleep(0.05)


def _connection(address: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address, timeout=60)


def push(address: str, repository: str, tag: str, image: Packed) -> str:
    """Send an image with plain requests (distribution-spec, "Pushing a blob monolithically"); its name there."""
    with contextlib.closing(_connection(address)) as connection:
        for digest, path in image.files.items():
            answer = _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/", 202)
            place = urllib.parse.urlsplit(answer.headers["Location"])
            with open(path, "rb") as file:
                _ask(connection, "PUT", f"{place.path}?{place.query}&digest={digest}", 201, file)
        _ask(
            connection,
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            201,
            image.manifest.raw,
            {"Content-Type": image.manifest.media_type},
        )
    return f"{address}/{repository}:{tag}"


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    expected: int,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> http.client.HTTPResponse:
    told = dict(headers or {})
    if hasattr(body, "fileno"):
        told["Content-Length"] = str(os.fstat(body.fileno()).st_size)
    connection.request(method, path, body, told)  # type: ignore[arg-type]
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != expected:
        raise BenchmarkError(f"the registry answered {method} {path} with {answer.status}: {text[:200]!r}")
    return answer
