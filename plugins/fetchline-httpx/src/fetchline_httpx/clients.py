"""The clients: httpx's own, except that errors raise and credentials stay with their host."""

from __future__ import annotations

import re
from typing import Any

import httpx

__all__ = ["AsyncClient", "Client"]

_CREDENTIAL = re.compile("auth|cookie|credential|key|passw|secret|session|sign|token", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Client(httpx.Client):
    """An ``httpx.Client`` whose ``get`` and the like raise on a status of 400 or more."""

    def __init__(self, *, raise_for_status: bool = True, **options: Any) -> None:
        super().__init__(**_completed(options, _keep_credentials_home))
        self._raises = raise_for_status

    # In ``send``, not in an event hook: a hook would raise inside the handshake of digest authentication.
    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = super().send(request, **options)
        if self._raises and response.is_error:
            try:
                response.read()
            finally:
                response.close()
            response.raise_for_status()
        return response


class AsyncClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` whose ``get`` and the like raise on a status of 400 or more."""

    def __init__(self, *, raise_for_status: bool = True, **options: Any) -> None:
        super().__init__(**_completed(options, _keep_credentials_home_async))
        self._raises = raise_for_status

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await super().send(request, **options)
        if self._raises and response.is_error:
            try:
                await response.aread()
            finally:
                await response.aclose()
            response.raise_for_status()
        return response


def _completed(options: dict[str, Any], hook: Any) -> dict[str, Any]:
    hooks = dict(options.get("event_hooks") or {})
    hooks["response"] = [*hooks.get("response", ()), hook]
    return {"follow_redirects": True, **options, "event_hooks": hooks}


def _keep_credentials_home(response: httpx.Response) -> None:
    """Take credentials from a request that is about to be redirected elsewhere.

    The redirected request is made of the headers of this one; httpx itself drops ``Authorization`` only.
    """
    if not response.has_redirect_location:
        return
    request = response.request
    try:
        target = request.url.join(response.headers["Location"])
    except httpx.InvalidURL:
        return  # httpx reports it
    if not _same_origin(request.url, target):
        for name in [name for name in request.headers if _CREDENTIAL.search(name)]:
            del request.headers[name]


async def _keep_credentials_home_async(response: httpx.Response) -> None:
    _keep_credentials_home(response)


def _same_origin(here: httpx.URL, there: httpx.URL) -> bool:
    upgraded = (here.scheme, there.scheme) == ("http", "https") and (_port(here), _port(there)) == (80, 443)
    same = (here.scheme, _port(here)) == (there.scheme, _port(there))
    return here.host == there.host and (same or upgraded)


def _port(url: httpx.URL) -> int | None:
    return url.port or _DEFAULT_PORTS.get(url.scheme)
