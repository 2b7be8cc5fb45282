"""The client: pywats' own, without what fetchline does, and with errors that say what the server answered."""

from __future__ import annotations

import os
from typing import Any

import httpx
from pywats import AsyncWATS, ConnectionError, ErrorMode, PyWATSError, RetryConfig
from pywats.core.async_client import AsyncHttpClient
from pywats.core.client import Response
from pywats.core.exceptions import ErrorHandler

from fetchline.http import telling
from fetchline_wats.errors import Answer

__all__ = ["Client"]

# The first of each pair is what pywats' client service reads, the second what its documentation names.
_ADDRESS = ("PYWATS_SERVER_URL", "WATS_BASE_URL")
_TOKEN = ("PYWATS_API_TOKEN", "WATS_AUTH_TOKEN")

_OURS = {
    "retry_config": "the fetcher's retry=",
    "retry_enabled": "the fetcher's retry=",
    "rate_limiter": "the fetcher's pace=",
    "enable_throttling": "the fetcher's pace=",
    "enable_cache": "a store",
    "cache_ttl": "a store",
    "cache_max_size": "a store",
    "error_mode": "the failure's error_code",
}


class Client(AsyncWATS):
    """A ``pywats.AsyncWATS`` for one event loop, with its retries, cache, throttle and circuit breaker off.

    Args:
        base_url: of the server; else ``PYWATS_SERVER_URL``, or ``WATS_BASE_URL``.
        token: user and password in Base64; else ``PYWATS_API_TOKEN``, or ``WATS_AUTH_TOKEN``. It is looked up when
            the client is made, so a login that has expired is made again with what the variable says then.
        options: ``timeout`` in seconds (30), ``verify_ssl``, ``station``, ``settings`` and ``instance_id`` of
            ``AsyncWATS``.

    Raises:
        ValueError: nobody says which server, or with which token: neither the options, nor the environment, nor a
            pywats client service that runs on this machine.
        TypeError: an option turns on what fetchline does itself.
    """

    def __init__(self, base_url: str | None = None, token: str | None = None, **options: Any) -> None:
        for name in options:
            if name in _OURS:
                raise TypeError(f'session="wats" takes no {name}: {_OURS[name]} does that')
        super().__init__(
            base_url=base_url or _from_environment(_ADDRESS),
            token=token or _from_environment(_TOKEN),
            retry_config=RetryConfig(enabled=False),
            enable_throttling=False,
            enable_cache=False,
            error_mode=ErrorMode.STRICT,
            **options,
        )
        plain = self._http_client
        self._http_client = _Wire(
            plain.base_url,
            plain.token,
            timeout=plain.timeout,
            verify_ssl=plain.verify_ssl,
            enable_throttling=False,
            retry_config=RetryConfig(enabled=False),
            enable_cache=False,
            enable_circuit_breaker=False,
        )

    async def __aenter__(self) -> Client:
        await super().__aenter__()
        return self


def _from_environment(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


class _Wire(AsyncHttpClient):
    """The requests of a client: an error status raises here, where the status and Retry-After are still known.

    pywats raises too, but later, without them, and where a report is submitted as a ``ValueError``.
    """

    _errors = ErrorHandler(ErrorMode.STRICT)

    async def _make_request(self, method: str, endpoint: str, *args: Any, **options: Any) -> Response:
        try:
            response = await super()._make_request(method, endpoint, *args, **options)
        except PyWATSError as error:
            if type(error) is PyWATSError and _is_of_connection(error.__context__):
                raise ConnectionError(error.message, operation=f"{method} {endpoint}") from error.__context__
            raise
        # What is not there is an answer: of a deletion, for some; the others raise it themselves.
        if response.is_success or (response.is_not_found and method in ("GET", "DELETE")):
            return response
        try:
            self._errors.handle_response(response, f"{method} {endpoint}")
        except PyWATSError as error:
            error.response = Answer(response.status_code, telling(response.headers))  # type: ignore[attr-defined]
            raise
        return response


def _is_of_connection(error: BaseException | None) -> bool:
    """Whether it is the connection that failed, or what came over it, not the request."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return isinstance(error, httpx.TransportError | httpx.DecodingError)
