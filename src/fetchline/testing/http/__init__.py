"""``HTTPSuite``: what fetchline wants of an HTTP session, as tests of one against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetchline.interfaces import SessionSpec, Use
from fetchline.testing.evidence import Log
from fetchline.testing.http.connections import Connections
from fetchline.testing.http.errors import Errors
from fetchline.testing.http.face import Answer, Face
from fetchline.testing.http.limits import Limits
from fetchline.testing.http.origin import Origin
from fetchline.testing.http.requests import Requests
from fetchline.testing.sessions.subject import Subject
from fetchline.testing.suites import given, skip_unless

__all__ = ["Answer", "HTTPSuite", "Origin"]


class HTTPSuite(Requests, Errors, Limits, Connections):
    """Hold an HTTP session to what fetchline wants of one: requests, errors, limits, connections.

    Subclass it and say what is under test. A session for functions and one for coroutine functions are held
    to the same; what a session is not for is skipped. Its factories take these options:

    - ``base_url``: what paths are appended to
    - ``headers``: sent with every request
    - ``auth``: a pair, user and password, for basic authentication
    - ``total``: seconds for a request, from its start to the last byte of its answer
    - ``max_bytes``: of a body, as it comes over the wire
    - ``max_decoded_bytes``: of a body, when it is decompressed

    Attributes:
        session: as ``@fetcher(session=...)`` takes it: a name, ``fetchline.use(name, ...)``, a ``SessionSpec``,
            a context-manager class; or a fixture of that name. Options of ``use`` go to every session.
        executors: where functions use it; leave out ``"process"`` for a session that is of this process.
        patience_s: seconds that a test waits for what must come, such as the end of a connection.

    Methods to override; they must pickle:
        fetch(session, path, ...): GET it, with ``params=`` and ``headers=`` if they are given, and give an
        ``Answer``, or something to await that does. The one here knows the usual clients.

    >>> class TestHttpx(HTTPSuite):
    ...     session = "httpx"
    """

    session: Any = None

    @pytest.fixture
    def origin(self) -> Iterator[Origin]:
        with Origin() as origin:
            yield origin

    @pytest.fixture(params=["sync", "async"])
    def face(self, request: pytest.FixtureRequest, tmp_path: Path) -> Face:
        session = given(request, "session", (str, Use, SessionSpec, type))
        subject = Subject.of(session, Log(tmp_path / "log"))
        kind = request.param
        missing = {}
        if kind == "sync" and not subject.for_functions:
            pytest.skip(f"{subject.spec.name!r} is for async functions only")
        if kind == "async" and not subject.for_coroutines:
            pytest.skip(f"{subject.spec.name!r} has no async session")
        if kind == "sync":
            missing["async"] = "attempts share a loop in async functions only"
        if "process" not in self.executors:
            missing["process"] = f"executors = {tuple(self.executors)} leaves processes out"
        skip_unless(request, missing)
        return Face(subject, self.fetch, kind == "sync")
