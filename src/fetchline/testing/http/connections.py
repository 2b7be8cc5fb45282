"""Connections: as many as there are requests in flight, used again, and gone with their session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import fetchline as fl
from fetchline.testing.evidence import until
from fetchline.testing.http.face import Face, HTTPHooks
from fetchline.testing.http.origin import Origin
from fetchline.testing.sessions.subject import settled
from fetchline.testing.suites import if_promised

__all__ = ["Connections"]

MANY = 200
AT_ONCE = 20


class Connections(HTTPHooks):
    """``session_contract``, as the server sees it."""

    def test_connections_are_bounded_and_used_again(self, face: Face) -> None:
        with Origin(latency=0.005) as origin:
            batch = face.run(paths(MANY), {"base_url": origin.url}, concurrency=AT_ONCE)
            assert batch.n_failed == 0, batch.failures
            assert len(origin.asked) == MANY
            assert origin.opened <= AT_ONCE + 2, f"{origin.opened} connections for {MANY} requests"

    def test_one_after_the_other_needs_one_connection(self, face: Face, origin: Origin) -> None:
        how: dict[str, Any] = {"executor": "serial"} if face.sync else {"concurrency": 1}
        batch = face.run(
            [*paths(10), "/status/404", "/status/500", "/bytes/9"], {"base_url": origin.url}, **how
        )
        assert batch.n_failed == 2
        assert origin.opened == 1

    def test_session_contract_it_is_closed_once_and_no_connection_is_left(
        self, face: Face, origin: Origin
    ) -> None:
        watched = replace(face.subject, spec=face.spec({"base_url": origin.url})).watched()
        batch = face.run([*paths(30), "/status/404", "/cut", "/reset"], spec=watched, concurrency=10)
        assert batch.n_failed == 3
        log = face.subject.log
        assert log.count("open") == log.count("close") >= 1
        assert log.count("unclean") == 0
        until(lambda: origin.open == 0, "the connections to end", patience=self.patience_s)

    @if_promised("process")
    def test_session_contract_processes_leave_no_connection(self, face: Face, origin: Origin) -> None:
        batch = face.run(paths(20), {"base_url": origin.url}, executor="process", workers=2)
        assert batch.n_failed == 0, batch.failures
        until(lambda: origin.open == 0, "the connections to end", patience=self.patience_s)

    def test_a_timed_out_attempt_leaves_no_connection(self, face: Face, origin: Origin) -> None:
        options = {"base_url": origin.url, "total": 0.2}
        batch = face.run(["/hold", "/drip", "/bytes/3"], options, concurrency=3)
        assert [result.error_code for result in batch.failures] == ["timeout", "timeout"]
        until(lambda: origin.open == 0, "the connections to end", patience=self.patience_s)

    @if_promised("async")
    def test_attempts_on_one_loop_share_one_session(self, face: Face) -> None:
        with Origin(latency=0.01) as origin:
            watched = replace(face.subject, spec=face.spec({"base_url": origin.url})).watched(scope="worker")
            batch = face.run(paths(40), spec=watched, concurrency=AT_ONCE)
            assert batch.n_failed == 0, batch.failures
            assert face.subject.log.count("open") == face.subject.log.count("close") == 1

    @if_promised("async")
    def test_a_cancelled_attempt_leaves_the_session_usable(self, face: Face, origin: Origin) -> None:
        async def main() -> None:
            async with face.open({"base_url": origin.url}) as session:
                for path in ("/hold", "/drip"):
                    asked = len(origin.asked)
                    tasks = [asyncio.ensure_future(settled(face.fetch(session, path))) for _ in range(5)]
                    while len(origin.asked) < asked + 5:
                        await asyncio.sleep(0.002)
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
                    assert all(task.cancelled() for task in tasks)
                    for _ in range(3):
                        assert (await settled(face.fetch(session, "/bytes/5"))).body == b"xxxxx"

        asyncio.run(main())
        until(lambda: origin.open == 0, "the connections to end", patience=self.patience_s)

    @if_promised("async")
    def test_an_attempt_past_the_fetchers_timeout_leaves_the_session_usable(
        self, face: Face, origin: Origin
    ) -> None:
        watched = replace(face.subject, spec=face.spec({"base_url": origin.url})).watched(scope="worker")
        items = ["/hold", "/bytes/3", "/drip", "/bytes/4"]
        batch = face.run(items, spec=watched, concurrency=1, policies={"timeout": 0.2})
        assert [isinstance(result, fl.Success) for result in batch] == [False, True, False, True], batch
        assert face.subject.log.count("open") == 1


def paths(count: int) -> list[str]:
    return [f"/bytes/{n}" for n in range(count)]
