"""Runs in buckets of two servers: moto's, and SeaweedFS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fetchline_s3 import S3Objects
from s3_servers import BUCKET, KEYS, moto, seaweed

import fetchline as fl
from fetchline.testing import StoreSuite

QUIET: dict[str, Any] = {"progress": None}


@pytest.fixture(scope="module")
def at_moto() -> Iterator[str]:
    with moto() as running:
        yield running


@pytest.fixture(scope="module")
def at_seaweed() -> Iterator[str]:
    with seaweed() as running:
        yield running


@pytest.fixture(params=["at_moto", "at_seaweed"])
def endpoint(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def where() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/runs"


class TestMoto(StoreSuite):
    @pytest.fixture
    def store(self, at_moto: str, where: str) -> Any:
        return lambda: S3Objects(where, endpoint=at_moto, **KEYS)


class TestSeaweed(StoreSuite):
    @pytest.fixture
    def store(self, at_seaweed: str, where: str) -> Any:
        return lambda: S3Objects(where, endpoint=at_seaweed, **KEYS)


def test_a_url_is_enough_with_the_environment_of_aws(
    endpoint: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret_access_key"])
    assert fl.run(abs, [-1, -2], store=where, **QUIET).values == [1, 2]
    assert fl.run(abs, [-1, -2, -3], store=where, **QUIET).summary.stored == 2
    assert fl.run_state(where).succeeded == 3
    files = fl.Files(f"{where}/daily/{{symbol}}.parquet")
    for stored in (0, 2):
        batch = fl.run(lambda symbol: pl.DataFrame({"of": [symbol]}), ["A", "B/C"], store=files, **QUIET)
        assert batch.summary.stored == stored
    assert batch.scan().collect().height == 2


KILLED = """
    import sys, time
    import fetchline as fl

    endpoint, where, calls = sys.argv[1:]

    def square(n):
        with open(calls, "a") as file:
            file.write(f"{n}\\n")
        time.sleep(0.002)
        return {"n": n, "square": n * n}

    store = fl.use("s3", where=where, endpoint=endpoint, access_key_id="me", secret_access_key="secret")
    told = open(sys.argv[3] + ".told", "a", buffering=1)
    for result in fl.stream(fl.Fetcher.of(square, "square"), range(2000), store=store, workers=4):
        if result.origin == "fetched":
            told.write(f"{result.key}\\n")
"""


def test_a_run_that_was_killed_goes_on(endpoint: str, where: str, tmp_path: Path) -> None:
    calls, told = tmp_path / "calls", tmp_path / "calls.told"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), endpoint, where, str(calls)]
    for count in (100, 400):
        process = subprocess.Popen(command)
        until = time.monotonic() + 60
        while not told.exists() or len(told.read_text().splitlines()) < count:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    reported = told.read_text().splitlines()[:-1]
    before = len(calls.read_text().splitlines())
    subprocess.run(command, check=True, timeout=100)
    again = calls.read_text().splitlines()[before:]
    assert not set(reported) & set(again)
    store = fl.use("s3", where=where, endpoint=endpoint, **KEYS)
    assert fl.verify(store) == {}
    frame = fl.open_run(store).frame()
    assert frame["n"].to_list() == list(range(2000))
    assert fl.open_run(store).scan().select(pl.len()).collect().item() == 2000


def test_a_server_without_conditional_writes_is_refused_before_anything_is_fetched(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    with moto() as endpoint, _forgetful(endpoint) as forgetful:
        store = fl.use("s3", where=where, endpoint=forgetful, **KEYS)
        with pytest.raises(fl.StoreFailed, match="does not know conditional writes"):
            fl.run(calls.append, [1], store=store, **QUIET)
        assert not calls
        assert list(S3Objects(where, endpoint=endpoint, **KEYS).list()) == []


def _forgetful(endpoint: str) -> Any:
    """A proxy that does not pass conditions on, as a server that does not know them."""
    import contextlib
    import http.server
    import threading
    import urllib.error
    import urllib.request

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = urllib.request.Request(endpoint + self.path, data=body or None, method=self.command)
            for name, value in self.headers.items():
                if name.lower() not in ("if-none-match", "host", "content-length", "connection"):
                    request.add_header(name, value)
            try:
                reply = urllib.request.urlopen(request, timeout=20)
            except urllib.error.HTTPError as error:
                reply = error
            with reply:
                content = reply.read()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.pass_on)

    @contextlib.contextmanager
    def running() -> Iterator[str]:
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()

    return running()


def test_nobody_there_is_told_within_the_time_that_was_said(where: str) -> None:
    store = fl.use("s3", where=where, endpoint="http://127.0.0.1:1", timeout=2, retries=1, **KEYS)
    began = time.monotonic()
    with pytest.raises(fl.StoreFailed, match=f"{where}.*127.0.0.1:1") as caught:
        fl.run(abs, [1], store=store, **QUIET)
    assert time.monotonic() - began < 20
    assert "secret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(endpoint: str) -> None:
    store = fl.use("s3", where="s3://no-such-bucket/runs", endpoint=endpoint, **KEYS)
    with pytest.raises(fl.StoreFailed, match="no-such-bucket"):
        fl.run(abs, [1], store=store, **QUIET)


@pytest.mark.parametrize("where", ["bucket/runs", "s3://", "https://bucket/runs"])
def test_a_place_that_is_no_bucket_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        S3Objects(where)


def test_the_readme_does_what_it_shows(
    endpoint: str, capsys: pytest.CaptureFixture[str], fetchline_registry: fl.Registry
) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0].replace("runs/squares", uuid.uuid4().hex)
    shown = text.split("```text\n")[1].split("```")[0]
    exec(compile(code, "README.md", "exec"), {"endpoint": endpoint, "__name__": "readme"})
    assert capsys.readouterr().out == shown
