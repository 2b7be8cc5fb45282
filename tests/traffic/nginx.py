"""Debian's nginx with a rate limit, as a process of the test's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fetchline.testing import until

__all__ = ["Nginx", "missing", "serve"]

_CONFIG = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format brief '$msec $status $request_uri';
    access_log {folder}/access.log brief;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    limit_req_zone $binary_remote_addr zone=z:1m rate=20r/s;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/www;
        location / {{
            limit_req zone=z burst=5{nodelay};
            limit_req_status 429;
            add_header Retry-After 1 always;
            try_files /ok.txt =404;
        }}
    }}
}}
"""


def missing() -> str:
    """Install nginx where it is not there and can be; why there is none, or an empty text."""
    with (Path(tempfile.gettempdir()) / "fetchline-nginx.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of this test run may be installing it
        if _binary():
            return ""
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return "nginx is not installed, and only root on Debian can have it installed"
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx"],
        ):
            done = subprocess.run(
                command,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        return "" if _binary() else f"nginx could not be installed: {done.stderr.strip()[-300:]}"


def _binary() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its address, and what its access log says."""

    url: str
    log: Path

    def times(self, status: int) -> list[float]:
        """When requests were answered with this status, in seconds of the wall clock."""
        lines = (line.split(" ") for line in self.log.read_text().splitlines())
        return [float(when) for when, found, _ in lines if int(found) == status]

    @property
    def accepted(self) -> int:
        return len(self.times(200))

    @property
    def refused(self) -> int:
        return len(self.times(429))


@contextlib.contextmanager
def serve(folder: Path, *, nodelay: bool) -> Iterator[Nginx]:
    """Run it while the block runs: 20 requests a second, 5 more at once.

    Args:
        folder: where all its files are.
        nodelay: whether those 5 are answered at once; else they are held back until their turn.
    """
    binary = _binary()
    assert binary, missing()
    (folder / "www").mkdir()
    (folder / "www" / "ok.txt").write_text("ok\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            port=port,
            nodelay=" nodelay" if nodelay else "",
            user="user root;" if os.geteuid() == 0 else "",  # or it could not read the test's own folder
        )
    )
    process = subprocess.Popen(
        [binary, "-c", str(config), "-e", str(folder / "error.log")], stdin=subprocess.DEVNULL
    )
    try:
        until(lambda: process.poll() is not None or _listens(port), "nginx to listen")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Nginx(f"http://127.0.0.1:{port}", folder / "access.log")
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False
