from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from fetchline_wats import Answer, expired, fetchline_register_sessions, judge, session
from pywats import (
    AsyncWATS,
    AuthenticationError,
    AuthorizationError,
    ConflictError,
    ConnectionError,
    EmptyResponseError,
    NotFoundError,
    Product,
    PyWATSError,
    ServerError,
    TimeoutError,
    ValidationError,
)
from pywats.core.validation import ReportHeaderValidationError
from support import at, product, report
from wats_server import TOKEN, WatsServer

import fetchline as fl
from fetchline.testing import SessionSuite

AT_ONCE = fl.Try(retry=3, sleep=0)


def with_answer(error: PyWATSError, status: int) -> PyWATSError:
    error.response = Answer(status)  # type: ignore[attr-defined]
    return error


def undecodable() -> Exception:
    with pytest.raises(ValueError, match="Product") as caught:
        Product.model_validate("no product")
    return caught.value


class TestContract(SessionSuite):
    errors = (
        AuthenticationError("no", operation="GET /api/Product"),
        AuthorizationError("no"),
        ConflictError("there already"),
        ConnectionError("refused", operation="GET /api/Product", details={"url": "http://127.0.0.1"}),
        EmptyResponseError("nothing"),
        NotFoundError(message="none", operation="get_product"),
        ReportHeaderValidationError("sn", "a*", ["*"]),
        ServerError("down", details={"status_code": 500}),
        TimeoutError("late"),
        ValidationError("wrong", field="name", value=1),
        PyWATSError("HTTP request failed"),
        with_answer(PyWATSError("slow down"), 429),
        with_answer(PyWATSError("gone"), 410),
        undecodable(),
    )

    @pytest.fixture
    def session(self) -> Iterator[Any]:
        with WatsServer() as server:
            yield fl.use("wats", base_url=server.url, token=TOKEN)

    async def check(self, session: Any) -> None:
        assert await session.get_version() == "26.1.0"

    async def expire(self, session: Any) -> None:
        session.http_client._headers["Authorization"] = "Basic expired"


# -- what fetchline does is off ----------------------------------------------------------------------------------


def test_the_session_is_pywats_own_client(wats: WatsServer) -> None:
    async def main() -> None:
        async with session(base_url=wats.url + "/", token=wats.token) as client:
            assert isinstance(client, AsyncWATS)
            assert await client.get_version() == "26.1.0"

    asyncio.run(main())


def test_one_attempt_is_one_request_whatever_the_answer(wats: WatsServer) -> None:
    """pywats by itself would ask three times, and wait in between, where no schedule sees it."""
    wats.products["pn-1"] = product("PN-1")
    fetch = at(wats, "wats.product", retry=1)
    for status, headers in ((500, {}), (503, {}), (429, {"Retry-After": "0"})):
        wats.fail("/api/Product", status=status, headers=headers)
        before = len(wats.asked)
        batch = fl.run(fetch.replace(patience=0.001), ["PN-1"], progress=None)
        assert len(wats.asked) - before == batch[0].attempts
    wats.fail("/api/Product", cut=True)
    before = len(wats.asked)
    fl.run(fetch, ["PN-1"], progress=None)
    assert len(wats.asked) - before == 1


def test_what_was_asked_before_is_asked_again(wats: WatsServer) -> None:
    """A cache in the client would answer a retry with what was wrong the first time."""
    wats.products["pn-1"] = product("PN-1")

    async def main() -> None:
        async with session(base_url=wats.url, token=wats.token) as client:
            for _ in range(3):
                await client.product.get_product("PN-1")

    asyncio.run(main())
    assert len(wats.asked) == 3


def test_no_circuit_of_the_client_stays_open_when_the_server_is_back(wats: WatsServer) -> None:
    """pywats by itself would refuse every request for a minute after five that failed."""
    wats.fail("/api/App", cut=True, times=8)

    async def main() -> int:
        async with session(base_url=wats.url, token=wats.token) as client:
            failed = 0
            for _ in range(8):
                with pytest.raises(ConnectionError):
                    await client.analytics.get_version()
                failed += 1
            assert await client.get_version() == "26.1.0"
            return failed

    assert asyncio.run(main()) == 8


def test_nothing_waits_for_the_throttle_of_the_client(wats: WatsServer) -> None:
    """It blocks the whole loop, and all clients of a process share it."""

    async def main() -> None:
        async with session(base_url=wats.url, token=wats.token) as client:
            for _ in range(510):
                assert client.http_client.rate_limiter.acquire(timeout=0)

    asyncio.run(main())


@pytest.mark.parametrize("option", ["retry_enabled", "enable_cache", "enable_throttling", "error_mode"])
def test_options_for_what_fetchline_does_are_refused(wats: WatsServer, option: str) -> None:
    with pytest.raises(TypeError, match=f"takes no {option}"):
        session(base_url=wats.url, token=wats.token, **{option: True})


# -- opening and closing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["asyncio", "process"])
def test_there_is_one_client_for_each_loop_and_nothing_is_left_of_it(wats: WatsServer, executor: str) -> None:
    wats.products = {f"pn-{n}": product(f"PN-{n}") for n in range(40)}
    items = [f"PN-{n}" for n in range(40)]
    batch = fl.run(at(wats, "wats.product"), items, executor=executor, progress=None)
    assert batch.n_failed == 0, batch.failures
    opened = batch.summary.logins
    assert 1 <= opened <= (1 if executor == "asyncio" else (os.cpu_count() or 1))
    assert batch.summary.logouts == opened
    assert wats.wait_until_nobody_is_connected()


@pytest.mark.parametrize(
    "names", [("PYWATS_SERVER_URL", "PYWATS_API_TOKEN"), ("WATS_BASE_URL", "WATS_AUTH_TOKEN")]
)
def test_the_environment_says_where_and_who(
    wats: WatsServer, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    wats.products["pn-1"] = product("PN-1")
    monkeypatch.setenv(names[0], wats.url)
    monkeypatch.setenv(names[1], wats.token)
    assert fl.run("wats.product", ["PN-1"], progress=None).values[0].part_number == "PN-1"


def test_without_a_server_or_token_the_session_does_not_open(wats: WatsServer) -> None:
    fetch = at(wats, "wats.product", session=fl.use("wats", base_url=wats.url), retry=1)
    batch = fl.run(fetch, ["PN-1"], progress=None)
    failure = batch.failures[0]
    assert (failure.error_code, wats.asked) == ("session", [])
    assert "Credentials required" in failure.message


def test_a_plain_function_is_refused_before_the_run() -> None:
    def plain(part_number: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match="is not async"):
        fl.run(fl.Fetcher.of(plain, "wats_plain", session="wats"), ["PN-1"], progress=None)


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "code", "attempts"),
    [
        ({"status": 400, "body": {"message": "wrong"}}, ValidationError, "permanent", 1),
        ({"status": 403}, AuthorizationError, "permanent", 1),
        ({"status": 404}, NotFoundError, "missing", 1),
        ({"status": 409}, ConflictError, "permanent", 1),
        ({"status": 410}, PyWATSError, "permanent", 1),
        ({"status": 200, "body": None}, EmptyResponseError, "missing", 1),
        ({"status": 200, "body": b"<html>busy</html>"}, ValueError, "undecodable", 3),
        ({"status": 500}, ServerError, "unavailable", 3),
        ({"status": 503}, ServerError, "unavailable", 3),
        ({"cut": True}, ConnectionError, "unavailable", 3),
        ({"hang": True}, TimeoutError, "unavailable", 3),
    ],
)
@pytest.mark.parametrize("executor", ["asyncio", "process"])
def test_every_kind_of_error_has_its_code_and_as_many_attempts_as_help(
    wats: WatsServer, fault: dict[str, Any], kind: type[Exception], code: str, attempts: int, executor: str
) -> None:
    wats.fail("/api/Product", times=9, **fault)
    where = fl.use("wats", base_url=wats.url, token=wats.token, timeout=0.3)
    fetch = at(wats, "wats.product", session=where, retry=AT_ONCE, patience=0.001)
    (failure,) = fl.run(fetch, ["PN-1"], executor=executor, progress=None).failures
    assert (failure.error_code, wats.count("/api/Product")) == (code, attempts)
    assert isinstance(failure.error, kind)
    back = pickle.loads(pickle.dumps(failure.error))
    assert (type(back), str(back)) == (type(failure.error), str(failure.error))
    assert judge(back) == judge(failure.error)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", ["wats.product", "wats.submit_report", "wats.save_products"])
def test_a_pause_the_server_asks_for_is_kept_and_costs_no_attempt(
    wats: WatsServer, name: str, status: int
) -> None:
    """pywats forgets Retry-After, and where a report is submitted the status too."""
    wats.products["pn-1"] = product("PN-1")
    item = {
        "wats.product": "PN-1",
        "wats.submit_report": report("SN-1"),
        "wats.save_products": product("PN-1"),
    }[name]
    wats.fail("/api/", status=status, headers={"Retry-After": "1"})
    batch = fl.run(at(wats, name, retry=1), [item], progress=None)
    assert batch.n_failed == 0, batch.failures
    first, second = wats.asked
    assert second.at - first.at >= 1


def test_nobody_at_the_address_is_unavailable(wats: WatsServer) -> None:
    with WatsServer() as gone:
        pass
    (failure,) = fl.run(at(gone, "wats.product", retry=1), ["PN-1"], progress=None).failures
    assert (failure.error_code, type(failure.error)) == ("unavailable", ConnectionError)


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_permanent(address: str) -> None:
    async def main() -> PyWATSError:
        async with session(base_url=address, token=TOKEN) as client:
            with pytest.raises(PyWATSError) as caught:
                await client.product.get_product("PN-1")
            return caught.value

    verdict = judge(asyncio.run(main()))
    assert verdict is not None
    assert verdict.kind == "permanent"


def test_a_token_the_server_does_not_know_is_a_failure_of_the_session(wats: WatsServer) -> None:
    fetch = at(wats, "wats.product", session=fl.use("wats", base_url=wats.url, token="other"))
    batch = fl.run(fetch, ["PN-1"], progress=None)
    (failure,) = batch.failures
    assert (failure.error_code, type(failure.error)) == ("session", AuthenticationError)
    assert len(wats.asked) == 2  # once more with a new login
    assert expired(failure.error)


def test_a_token_that_was_replaced_is_read_anew_and_costs_no_attempt(
    wats: WatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wats.products = {f"pn-{n}": product(f"PN-{n}") for n in range(9)}
    monkeypatch.setenv("PYWATS_SERVER_URL", wats.url)
    monkeypatch.setenv("PYWATS_API_TOKEN", wats.token)

    def replace(number: int) -> None:
        if number == 5:
            wats.token = "replaced"
            monkeypatch.setenv("PYWATS_API_TOKEN", "replaced")

    wats.before = replace
    fetch = at(wats, "wats.product", session="wats", retry=1)
    batch = fl.run(fetch, [f"PN-{n}" for n in range(9)], progress=None)
    assert batch.n_failed == 0, batch.failures
    assert batch.summary.logins == 2
    assert batch.summary.logouts == 2


def test_a_report_that_pywats_will_not_read_fails_in_a_form_that_pickles(wats: WatsServer) -> None:
    body = report("SN-1").model_dump(mode="json", by_alias=True, exclude_none=True)
    wats.reports[body["id"]] = {**body, "sn": "SN*1"}
    (failure,) = fl.run(at(wats, "wats.report"), [body["id"]], executor="process", progress=None).failures
    assert (failure.error_code, len(wats.asked)) == ("permanent", 1)
    assert isinstance(failure.error, ValidationError)
    assert "problematic" in str(pickle.loads(pickle.dumps(failure.error)))


def test_a_judge_knows_nothing_of_others_errors() -> None:
    (spec,) = fetchline_register_sessions()
    assert spec.judge is not None
    assert spec.judge(ValueError("mine")) is None
    assert spec.judge(OSError("mine")) is None


def test_an_option_that_it_does_not_take_is_refused_before_anything_starts() -> None:
    @fl.fetcher("wats.misspelt", session=fl.use("wats", base_ulr=1))
    async def misspelt(item: str, *, session: Any = fl.injected) -> str:
        raise AssertionError("called")

    with pytest.raises(TypeError, match=r"takes no 'base_ulr'; did you mean 'base_url'\?"):
        fl.run(misspelt, ["a"], progress=None)
