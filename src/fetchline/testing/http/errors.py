"""What an error means, and that it reaches whoever asked."""

from __future__ import annotations

import pickle

import pytest

import fetchline as fl
from fetchline.http import HTTPFailure
from fetchline.testing.http.face import Face, HTTPHooks, failed
from fetchline.testing.http.origin import Origin
from fetchline.testing.suites import if_promised

__all__ = ["Errors"]

TWICE = {"retry": fl.Try(retry=2, sleep=0)}


class Errors(HTTPHooks):
    """Verdicts, as a run shows them, and errors that travel."""

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
    def test_a_request_that_is_wrong_is_permanent(self, face: Face, origin: Origin, status: int) -> None:
        assert ended(face, origin, f"/status/{status}") == ("permanent", 1)

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_server_in_trouble_is_asked_again(self, face: Face, origin: Origin, status: int) -> None:
        assert ended(face, origin, f"/status/{status}") == ("unavailable", 2)

    @pytest.mark.parametrize("status", [429, 503])
    def test_throttled_charges_nobody(self, face: Face, origin: Origin, status: int) -> None:
        """One call in all is allowed, and two are made."""
        batch = face.run(
            [f"/first/{status}/{n}?retry_after=0.05" for n in range(3)],
            {"base_url": origin.url},
            policies={"retry": fl.Try(retry=1)},
        )
        assert [result.status for result in batch] == ["success"] * 3, batch.failures
        assert [result.attempts for result in batch] == [2] * 3

    @pytest.mark.parametrize("path", ["/cut", "/leave", "/reset"])
    def test_a_broken_connection_is_unavailable(self, face: Face, origin: Origin, path: str) -> None:
        assert ended(face, origin, path) == ("unavailable", 2)

    def test_no_connection_is_unavailable(self, face: Face) -> None:
        with Origin() as gone:
            pass
        assert ended(face, gone, "/echo") == ("unavailable", 2)

    @pytest.mark.parametrize("path", ["/cut", "/leave", "/reset", "/hold"])
    @pytest.mark.parametrize("before", [[], ["/echo"]], ids=["new", "kept"])
    def test_a_write_that_may_have_arrived_is_not_sent_again(
        self, face: Face, origin: Origin, path: str, before: list[str]
    ) -> None:
        """On a new connection as on one that was kept."""
        paths, options = [*before, path], {"base_url": origin.url, "total": 0.3}
        policies = {"retry": fl.Try(retry=3, sleep=0), "idempotent": False}
        failure = face.run(paths, options, policies=policies, executor="serial").failures[-1]
        assert (failure.error_code, failure.attempts) == ("unknown_outcome", 1), failure
        assert origin.count(path) == 1

    @pytest.mark.parametrize("path", ["/garbled", "/bytes/5000"])
    def test_a_write_whose_answer_cannot_be_read_is_not_sent_again(
        self, face: Face, origin: Origin, path: str
    ) -> None:
        """It has been answered."""
        options = {"base_url": origin.url, "max_bytes": 1000}
        policies = {"retry": fl.Try(retry=3, sleep=0), "idempotent": False}
        assert failed(face.run([path], options, policies=policies)).error_code == "unknown_outcome"
        assert origin.count(path) == 1

    def test_a_write_that_found_no_connection_is_tried_again(self, face: Face) -> None:
        with Origin() as gone:
            pass
        policies = {**TWICE, "idempotent": False}
        failure = failed(face.run(["/echo"], {"base_url": gone.url}, policies=policies))
        assert (failure.error_code, failure.attempts) == ("unavailable", 2)

    def test_a_body_that_does_not_decode_is_undecodable(self, face: Face, origin: Origin) -> None:
        assert ended(face, origin, "/garbled") == ("undecodable", 2)

    def test_an_error_status_is_an_http_failure(self, face: Face, origin: Origin) -> None:
        path = "/status/404?text=no such symbol&retry_after=3"
        check(failed(face.run([path], {"base_url": origin.url})), origin)

    @if_promised("process")
    def test_an_error_status_is_an_http_failure_from_a_process(self, face: Face, origin: Origin) -> None:
        path = "/status/404?text=no such symbol&retry_after=3"
        batch = face.run([path], {"base_url": origin.url}, executor="process", workers=1)
        check(failed(batch), origin)

    @pytest.mark.parametrize("path", ["/status/404", "/cut", "/garbled", "/bytes/2000", "/drip"])
    def test_errors_pickle_and_mean_the_same(self, face: Face, origin: Origin, path: str) -> None:
        spec, options = face.subject.spec, {"base_url": origin.url, "max_bytes": 1999, "total": 0.1}
        with pytest.raises(Exception) as caught:
            face.get(path, options)
        sent = caught.value if spec.portable is None else spec.portable(caught.value)
        back = pickle.loads(pickle.dumps(sent))
        assert type(back) is type(sent)
        assert str(back) == str(sent)
        if spec.judge is not None:
            assert spec.judge(back) == spec.judge(caught.value)

    def test_an_error_does_not_tell_the_password(self, face: Face, origin: Origin) -> None:
        address = origin.url.replace("://", "://me:hunter2@")
        error = failed(face.run([f"{address}/status/404"])).error
        assert isinstance(error, HTTPFailure)
        assert error.url == f"{origin.url}/status/404"
        assert "hunter2" not in repr((error, str(error), vars(error)))

    def test_an_error_does_not_tell_what_is_secret_in_the_query(self, face: Face, origin: Origin) -> None:
        path = f"{origin.url}/status/404?api_key=hunter2&text=A"
        error = failed(face.run([path], key=lambda item: "A")).error
        assert isinstance(error, HTTPFailure)
        assert error.url == f"{origin.url}/status/404?api_key=***&text=A"
        assert "hunter2" not in repr((error, str(error), vars(error)))


def ended(face: Face, origin: Origin, path: str) -> tuple[str, int]:
    """The code of the failure of an item that has two attempts, and how many were made."""
    failure = failed(face.run([path], {"base_url": origin.url}, policies=TWICE))
    return failure.error_code, failure.attempts


def check(failure: fl.Failure, origin: Origin) -> None:
    error = failure.error
    assert isinstance(error, HTTPFailure), repr(error)
    assert (error.method, error.status, error.body) == ("GET", 404, "no such symbol")
    assert error.url.startswith(f"{origin.url}/status/404?")
    assert (error.headers["retry-after"], error.headers["x-request-id"]) == ("3", "r1")
    assert "404" in str(error)
