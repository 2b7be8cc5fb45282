"""The demonstration's web service in a process of its own.

``python -m fetchline.demo.server`` prints its port on its first line and serves

- ``GET /daily/{ticker}.csv?start=2012-01-01&end=2012-01-31``: a line a day; 404 for an unknown ticker
- ``GET /stats``: how many requests it answered, by status

until its standard input ends or its parent is gone, so that nothing is left over, however the parent died.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from fetchline.demo.prices import load_series
from fetchline.demo.service import Manners, Service
from fetchline.demo.session import HttpSession

__all__ = ["DemoServer", "main"]


class DemoServer:
    """The service while a ``with`` block runs.

    Args:
        manners: how it treats its clients; slow and limited by default.

    Attributes:
        url: where it is, without a slash at the end.
        pid: its process.

    >>> with DemoServer() as server:
    ...     server.stats()
    {'requests': 0, 'by_status': {}}
    """

    def __init__(self, manners: Manners | None = None) -> None:
        self._manners = manners or Manners()
        self._stack = ExitStack()
        self.url = ""
        self.pid = 0

    def stats(self) -> dict[str, Any]:
        """Ask the service how many requests it answered, in all and ``by_status``."""
        with HttpSession() as session:
            counts: dict[str, Any] = json.loads(session.get(f"{self.url}/stats").content)
        return counts

    def __enter__(self) -> DemoServer:
        manners = self._manners
        options = {"failures": manners.failures, "rate": manners.rate, "burst": manners.burst}
        process = subprocess.Popen(
            [sys.executable, "-m", "fetchline.demo.server"]
            + ["--latency", *map(str, manners.latency)]
            + [f"--{name}={value}" for name, value in options.items()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # It finds what this process finds, wherever this one was told to look.
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(_absolute(sys.path))},
            start_new_session=True,  # Ctrl-C is for the program, which may still want answers
        )
        assert process.stdin and process.stdout
        self._stack.callback(_end, process)
        port = process.stdout.readline().strip()
        if not port:
            self._stack.close()
            raise RuntimeError(f"the demo server ended at once, exit code {process.returncode}; see above")
        self.url = f"http://127.0.0.1:{port}"
        self.pid = process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _absolute(paths: Sequence[str]) -> list[str]:
    return [str(Path(path).absolute()) for path in paths]


def _end(process: subprocess.Popen[str]) -> None:
    with process:  # closes its pipes, which is what it waits for, and waits for it
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until standard input ends or the parent is gone."""
    parent = os.getppid()
    usual = Manners()
    parser = argparse.ArgumentParser(prog="fetchline.demo.server", description="Serve daily prices.")
    add = partial(parser.add_argument, metavar="N")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--latency", type=float, nargs=2, default=usual.latency, help="seconds of an answer, from and to")
    add("--failures", type=float, default=usual.failures, help="share of paths that fail once")
    add("--rate", type=float, default=usual.rate, help="requests a second")
    add("--burst", type=int, default=usual.burst, help="requests at once after a quiet time")
    asked = parser.parse_args(argv)
    manners = Manners(tuple(asked.latency), asked.failures, asked.rate, asked.burst)
    service = Service(asked.port, manners, load_series())
    threading.Thread(target=service.serve_forever, args=[0.05], daemon=True).start()
    try:
        print(service.server_port, flush=True)
        _wait_until_unneeded(parent)
    except KeyboardInterrupt:
        return 130
    finally:
        service.shutdown()
        service.server_close()
    return 0


def _wait_until_unneeded(parent: int) -> None:
    # The end of stdin tells of most deaths at once. A process that the parent forked may hold the pipe open:
    # then only the change of parent tells.
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], 0.5)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            return


if __name__ == "__main__":
    sys.exit(main())
