"""Limits that hold whatever the server does: how long, and how much."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fetchline.errors import AttemptTimeout
from fetchline.http import BodyTooLarge
from fetchline.testing.http.face import Face, HTTPHooks, failed
from fetchline.testing.http.origin import Origin

__all__ = ["Limits"]

MANY = 20_000_000


class Limits(HTTPHooks):
    """``total``, ``max_bytes`` and ``max_decoded_bytes``."""

    @pytest.mark.parametrize("path", ["/drip", "/drip/head", "/hold", "/redirect?to=/drip"])
    def test_total_ends_a_request_though_bytes_keep_coming(
        self, face: Face, origin: Origin, path: str
    ) -> None:
        began = time.monotonic()
        with pytest.raises(AttemptTimeout):
            face.get(path, {"base_url": origin.url, "total": 0.3})
        assert 0.25 < time.monotonic() - began < 0.3 + self.patience_s / 2

    def test_total_counts_each_request_anew(self, face: Face, origin: Origin) -> None:
        paths = [f"/slow?s=0.15&n={n}" for n in range(4)]
        batch = face.run(paths, {"base_url": origin.url, "total": 0.5}, **one_by_one(face))
        assert batch.n_failed == 0, batch.failures

    def test_an_attempt_past_its_total_is_a_timeout(self, face: Face, origin: Origin) -> None:
        result = failed(face.run(["/drip"], {"base_url": origin.url, "total": 0.1}))
        assert (result.error_code, result.attempts) == ("timeout", 1)

    @pytest.mark.parametrize("kind", ["bytes", "chunked"])
    def test_max_bytes_is_the_most_that_a_body_may_have(self, face: Face, origin: Origin, kind: str) -> None:
        options = {"base_url": origin.url, "max_bytes": 100_000}
        assert len(face.get(f"/{kind}/100000", options).body) == 100_000
        with pytest.raises(BodyTooLarge):
            face.get(f"/{kind}/100001", options)

    def test_an_error_status_says_more_than_the_size_of_its_body(self, face: Face, origin: Origin) -> None:
        path = f"/status/500?text={'x' * 2000}"
        result = failed(face.run([path], {"base_url": origin.url, "max_bytes": 1000}))
        assert result.error_code == "unavailable", result

    def test_max_bytes_counts_what_comes_over_the_wire(self, face: Face, origin: Origin) -> None:
        body = face.get("/gzip/1000000", {"base_url": origin.url, "max_bytes": 10_000}).body
        assert len(body) == 1_000_000

    def test_max_decoded_bytes_counts_what_the_body_becomes(self, face: Face, origin: Origin) -> None:
        options = {"base_url": origin.url, "max_decoded_bytes": 100_000}
        assert face.get("/gzip/100000", options).body == bytes(100_000)
        assert len(face.get("/bytes/100000", options).body) == 100_000
        for path in ("/gzip/100001", "/bytes/100001"):
            with pytest.raises(BodyTooLarge):
                face.get(path, options)

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_bomb_is_refused_before_it_is_unpacked(self, face: Face, origin: Origin, times: int) -> None:
        """Compressed once or twice; its memory is not taken either."""
        path = f"/gzip/{MANY}?times={times}"
        with pytest.raises(BodyTooLarge), less_memory_than(MANY // 10):
            face.get(path, {"base_url": origin.url, "max_decoded_bytes": 500_000})

    def test_too_large_is_permanent(self, face: Face, origin: Origin) -> None:
        options: dict[str, Any] = {"base_url": origin.url, "max_bytes": 1000}
        result = failed(face.run(["/bytes/1001"], options, policies={"retry": 3}))
        assert (result.error_code, result.attempts) == ("permanent", 1)
        assert isinstance(result.error, BodyTooLarge)

    def test_a_session_is_usable_after_a_refusal(self, face: Face, origin: Origin) -> None:
        paths = ["/bytes/2000", "/bytes/10", "/gzip/2000", "/bytes/20"]
        options = {"base_url": origin.url, "max_bytes": 1000, "max_decoded_bytes": 1000}
        batch = face.run(paths, options, **one_by_one(face))
        assert [result.is_success for result in batch] == [False, True, False, True]


def one_by_one(face: Face) -> dict[str, Any]:
    """Options of a run whose attempts share one session and do not overlap."""
    return {"executor": "thread", "workers": 1} if face.sync else {"concurrency": 1}


@contextmanager
def less_memory_than(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most, f"{peak:,} bytes of memory at one time"
