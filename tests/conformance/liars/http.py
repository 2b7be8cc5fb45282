"""HTTP sessions that do not keep what is wanted of one; ``RED`` names the tests that say so.

Each is the session of fetchline-httpx with one thing wrong.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar

import fetchline_httpx
import httpx
from fetchline_httpx.clients import AsyncClient, Client

import fetchline as fl
from fetchline.http import BodyTooLarge, HTTPFailure
from fetchline.testing import HTTPSuite

(HTTPX,) = fetchline_httpx.fetchline_register_sessions()


class Told(HTTPSuite):
    executors = ("thread",)


def client(**options: Any) -> Client:
    return Client(**{"trust_env": False, **options})


def async_client(**options: Any) -> AsyncClient:
    return AsyncClient(**{"trust_env": False, **options})


HONEST = replace(HTTPX, factory=client, async_factory=async_client)


class TestHonest(Told):
    session = HONEST


def without(*names: str) -> fl.SessionSpec:
    """A session that takes these options and forgets them."""

    def factory(**options: Any) -> Client:
        return client(**{name: option for name, option in options.items() if name not in names})

    return replace(HONEST, factory=factory, async_factory=None)


class TestForgetsAuth(Told):
    session = without("auth")


class TestForgetsTotal(Told):
    session = without("total")


class TestForgetsMaxBytes(Told):
    session = without("max_bytes")


class TestForgetsMaxDecodedBytes(Told):
    session = without("max_decoded_bytes")


class Unpacks(Client):
    """Looks at the size when it has everything."""

    def __init__(self, *, max_decoded_bytes: int | None = None, **options: Any) -> None:
        super().__init__(trust_env=False, **options)
        self.most = max_decoded_bytes

    def get(self, *args: Any, **options: Any) -> httpx.Response:
        answer = super().get(*args, **options)
        if self.most is not None and len(answer.content) > self.most:
            raise BodyTooLarge(str(answer.url), self.most, "max_decoded_bytes")
        return answer


class TestUnpacksFirst(Told):
    session = replace(HONEST, factory=Unpacks, async_factory=None)


class Carries(Client):
    """Takes its headers along wherever it is sent."""

    def _look(self, response: httpx.Response) -> None: ...


class TestCarriesCredentials(Told):
    session = replace(HONEST, factory=Carries, async_factory=None)


class TestDoesNotFollow(Told):
    session = replace(
        HONEST, factory=lambda **options: client(follow_redirects=False, **options), async_factory=None
    )


class Spendthrift:
    """A connection for every request."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __enter__(self) -> Spendthrift:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get(self, path: str, **how: Any) -> httpx.Response:
        with client(**self.options) as session:
            return session.get(path, **how)


class TestSpendthrift(Told):
    session = replace(HONEST, factory=Spendthrift, async_factory=None)


class LeftOpen(Client):
    left: ClassVar[list[Client]] = []

    def __exit__(self, *_: object) -> None:
        self.left.append(self)


class TestLeftOpen(Told):
    patience_s = 0.3
    session = replace(HONEST, factory=LeftOpen, async_factory=None)


class Fragile(AsyncClient):
    """Does not survive a request that is cancelled."""

    async def send(self, *args: Any, **options: Any) -> httpx.Response:
        try:
            return await super().send(*args, **options)
        except asyncio.CancelledError:
            await self.aclose()
            raise


class TestFragile(Told):
    session = replace(HONEST, factory=None, async_factory=Fragile)


class TestSaysNothing(Told):
    """Its errors are httpx's own, judged by nobody."""

    session = replace(HONEST, judge=None, portable=None)


class TestAsksAgain(Told):
    session = replace(HONEST, judge=lambda error: fl.Verdict("retry", "unavailable"))


class Hidden(Exception):
    """An error without its status."""


class Hides(Client):
    def send(self, *args: Any, **options: Any) -> httpx.Response:
        try:
            return super().send(*args, **options)
        except httpx.HTTPStatusError as error:
            raise Hidden(str(error)) from None


class TestHidesTheStatus(Told):
    session = replace(HONEST, factory=Hides, async_factory=None)


def talkative(error: BaseException) -> BaseException:
    failure = fetchline_httpx.portable(error)
    if isinstance(failure, HTTPFailure) and isinstance(error, httpx.HTTPStatusError):
        failure.add_note(f"asked {str(error.request.url).replace('[secure]', 'hunter2')}")
        failure.url = f"http://me:{error.request.url.password}@127.0.0.1/"
    return failure


class TestTellsThePassword(Told):
    session = replace(HONEST, portable=talkative)


RED = {
    "TestHonest": {},
    "TestForgetsAuth": {"test_auth_is_basic_authentication": "401"},
    "TestForgetsTotal": {"test_an_attempt_past_its_total_is_a_timeout": ""},
    "TestForgetsMaxBytes": {
        "test_max_bytes_is_the_most_that_a_body_may_have": "DID NOT RAISE",
        "test_too_large_is_permanent": "",
    },
    "TestForgetsMaxDecodedBytes": {"test_max_decoded_bytes_counts_what_the_body_becomes": "DID NOT RAISE"},
    "TestUnpacksFirst": {"test_a_bomb_is_refused_before_it_is_unpacked": "bytes of memory at one time"},
    "TestCarriesCredentials": {
        "test_a_redirect_to_another_origin_drops_credentials[sync-127.0.0.1]": "127.0.0.1 was told",
    },
    "TestDoesNotFollow": {"test_redirects_are_followed": ""},
    "TestSpendthrift": {
        "test_connections_are_bounded_and_used_again": "connections for 200 requests",
        "test_one_after_the_other_needs_one_connection": "",
    },
    "TestLeftOpen": {
        "test_session_contract_it_is_closed_once_and_no_connection_is_left": "in vain for the connections"
    },
    "TestFragile": {"test_a_cancelled_attempt_leaves_the_session_usable": "closed"},
    "TestSaysNothing": {
        "test_an_error_status_is_an_http_failure": "HTTPStatusError",
        "test_errors_pickle_and_mean_the_same": "",
        "test_a_body_that_does_not_decode_is_undecodable": "",
    },
    "TestAsksAgain": {"test_a_request_that_is_wrong_is_permanent": ""},
    "TestHidesTheStatus": {"test_throttled_charges_nobody": ""},
    "TestTellsThePassword": {"test_an_error_does_not_tell_the_password": ""},
}
