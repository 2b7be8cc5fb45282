"""The clients: httpx's own, with limits that hold, errors that raise, and credentials that stay with their host."""

from __future__ import annotations

import importlib.util
from typing import Any

import httpx

from fetchline.http import BodyTooLarge, Limits
from fetchline_httpx.bodies import bounded, keep_credentials_home
from fetchline_httpx.connections import Connections
from fetchline_httpx.deadlines import Deadline, clocked, current
from fetchline_httpx.wires import wired

__all__ = ["AsyncClient", "Client"]

# As many as there are requests: how many those may be, a run's concurrency says.
_NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)


class Client(httpx.Client):
    """An ``httpx.Client`` whose ``get`` and the like raise on a status of 400 or more; see ``client``."""

    def __init__(
        self,
        *,
        raise_for_status: bool = True,
        total: float | None = None,
        max_bytes: int | None = None,
        max_decoded_bytes: int | None = None,
        **options: Any,
    ) -> None:
        self._raises = raise_for_status
        self._bounds = Limits(total, max_bytes, max_decoded_bytes)
        super().__init__(**_completed(options, self._bounds, self._look))

    # In ``send``, not in an event hook: a hook would raise inside the handshake of digest authentication.
    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        total = self._bounds.total
        if total is None:
            return self._send(request, stream, options)
        _wait_for_a_place(request, total)
        with Deadline(request, total).held():
            return self._send(request, stream, options)

    def _send(self, request: httpx.Request, stream: bool, options: dict[str, Any]) -> httpx.Response:
        response = super().send(request, stream=True, **options)
        wrong = self._raises and response.is_error
        try:
            if wrong or not stream:
                response.read()
        except BaseException as error:
            response.close()
            if not (wrong and isinstance(error, _OF_THE_BODY)):
                raise
        if wrong:
            response.raise_for_status()
        return response

    def _look(self, response: httpx.Response) -> None:
        keep_credentials_home(response)
        bounded(response, self._bounds, current.get())

    # httpx makes the transports, of whatever options its version has, for the address and for each proxy.
    def _init_transport(self, **options: Any) -> httpx.BaseTransport:
        return clocked(super()._init_transport(**options))

    def _init_proxy_transport(self, proxy: httpx.Proxy, **options: Any) -> httpx.BaseTransport:
        return clocked(super()._init_proxy_transport(proxy, **options))


class AsyncClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` like ``Client``, with a pool of its own for each connection."""

    def __init__(
        self,
        *,
        raise_for_status: bool = True,
        total: float | None = None,
        max_bytes: int | None = None,
        max_decoded_bytes: int | None = None,
        **options: Any,
    ) -> None:
        self._raises = raise_for_status
        self._bounds = Limits(total, max_bytes, max_decoded_bytes)
        super().__init__(**_completed(options, self._bounds, self._look))

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        total = self._bounds.total
        if total is None:
            return await self._send(request, stream, options)
        async with Deadline(request, total).kept():
            return await self._send(request, stream, options)

    async def _send(self, request: httpx.Request, stream: bool, options: dict[str, Any]) -> httpx.Response:
        response = await super().send(request, stream=True, **options)
        wrong = self._raises and response.is_error
        try:
            if wrong or not stream:
                await response.aread()
        except BaseException as error:
            await response.aclose()
            if not (wrong and isinstance(error, _OF_THE_BODY)):
                raise
        if wrong:
            response.raise_for_status()
        return response

    async def _look(self, response: httpx.Response) -> None:
        keep_credentials_home(response)
        bounded(response, self._bounds, current.get())

    def _init_transport(self, *, transport: Any = None, **options: Any) -> httpx.AsyncBaseTransport:
        if transport is not None:
            return super()._init_transport(transport=transport, **options)
        return _connections(super()._init_transport, options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, **options: Any) -> httpx.AsyncBaseTransport:
        make = super()._init_proxy_transport
        return _connections(lambda **given: make(proxy, **given), options)


_OF_THE_BODY = (httpx.HTTPError, BodyTooLarge)  # with an error status, that is what matters


def _connections(make: Any, options: dict[str, Any]) -> httpx.AsyncBaseTransport:
    if options["http2"]:  # a connection carries many requests, so that httpx's own pool has few
        return wired(make(**options))
    verify, cert, limits = (options.pop(name) for name in ("verify", "cert", "limits"))
    # One for all of them: to read the certificates takes longer than to connect.
    context = httpx.create_ssl_context(verify=verify, cert=cert, trust_env=options["trust_env"])
    return Connections(lambda each: wired(make(verify=context, limits=each, **options)), limits)


def _completed(options: dict[str, Any], bounds: Limits, look: Any) -> dict[str, Any]:
    if options.get("http2") and importlib.util.find_spec("h2") is None:
        raise ImportError("http2=True needs h2: pip install 'fetchline-httpx[http2]'")
    hooks = dict(options.get("event_hooks") or {})
    hooks["response"] = [look, *hooks.get("response", ())]  # before any that reads the answer
    headers = httpx.Headers(options.get("headers"))
    if bounds.max_decoded_bytes is not None:
        headers.setdefault("Accept-Encoding", "gzip, deflate")  # those whose outcome can be bounded
    return {
        "follow_redirects": True,
        "limits": _NO_LIMITS,
        **options,
        "headers": headers,
        "event_hooks": hooks,
    }


def _wait_for_a_place(request: httpx.Request, total: float) -> None:
    """The wait for a connection of the pool ends in time too."""
    timeouts = request.extensions.get("timeout", {})
    patience = timeouts.get("pool")
    pool = total if patience is None else min(patience, total)
    request.extensions = {**request.extensions, "timeout": {**timeouts, "pool": pool}}
