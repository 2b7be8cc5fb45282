"""The session: an ``aiohttp.ClientSession`` whose requests are read to their end, within limits."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import Coroutine, Generator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from fetchline.http import Limits, overdue, same_origin
from fetchline_aiohttp.redirects import leads_on, moved, target, without_credentials
from fetchline_aiohttp.replies import ENCODINGS, Reply

__all__ = ["Asked", "Session"]

_OF_THE_CONNECTOR = frozenset(inspect.signature(aiohttp.TCPConnector).parameters) - {"loop"}
_MOST_REDIRECTS = 10


class Asked(Coroutine[Any, Any, Reply]):
    """A request: ``reply = await session.get(...)``, or ``async with session.get(...) as reply``."""

    __slots__ = ("_work",)

    def __init__(self, work: Coroutine[Any, Any, Reply]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, Reply]:
        return self._work.__await__()

    async def __aenter__(self) -> Reply:
        return await self._work

    async def __aexit__(self, *error: object) -> None:
        """Nothing is left to be closed: the answer has been read."""

    # What makes it good for ``asyncio.create_task``.
    def send(self, value: Any) -> Any:
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()


class Session:
    """An HTTP session for one event loop.

    Credentials, which are the session's headers that look like such, ``auth`` and ``middlewares``, go to the
    origin of ``base_url`` only, wherever an answer redirects to.

    Args:
        base_url: what paths are appended to, with or without a path of its own.
        headers: for every request.
        auth: user and password for basic authentication.
        total: seconds that a request may take in all, redirects and the answer's body included.
        max_bytes: that a body may have as it comes over the wire; None is no limit.
        max_decoded_bytes: that it may have when it is decompressed.
        limit: connections at once; by default as many as there are requests at once.
        raise_for_status: raise a ``ClientResponseError`` for an answer of 400 or more.
        cookies: for every request to ``base_url``; without one, for every request.
        options: of ``aiohttp.ClientSession`` and ``aiohttp.TCPConnector``.

    Attributes:
        headers: of every request to come; a token may be added that a login gave.
        client: the ``aiohttp.ClientSession`` for what this one does not do, such as web sockets.

    >>> async def main():
    ...     async with Session(base_url="http://127.0.0.1:1", total=5) as session:
    ...         return await session.get("/quote", params={"symbol": "AAPL"})
    >>> asyncio.run(main())
    Traceback (most recent call last):
    aiohttp.client_exceptions.ClientConnectorError: ...
    """

    client: aiohttp.ClientSession

    def __init__(
        self,
        *,
        base_url: str | URL = "",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        total: float | None = 300.0,
        max_bytes: int | None = None,
        max_decoded_bytes: int | None = None,
        limit: int = 0,
        raise_for_status: bool = True,
        cookies: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._base = str(base_url).rstrip("/")
        self._headers = CIMultiDict(headers or {})
        self._headers.setdefault("Accept-Encoding", ENCODINGS)
        if auth is not None:
            self._headers["Authorization"] = _basic(auth)
        self._raises, self._cookies = raise_for_status, cookies
        self._limits = Limits(total, max_bytes, max_decoded_bytes)
        options.setdefault("timeout", aiohttp.ClientTimeout(total=None, sock_connect=30))
        self._of_connector = {"limit": limit} | {
            name: options.pop(name) for name in _OF_THE_CONNECTOR & options.keys()
        }
        self._options = options

    async def __aenter__(self) -> Session:
        # An address is a host too: the default jar keeps no cookies of those.
        jar = self._options.pop("cookie_jar", None) or aiohttp.CookieJar(unsafe=True)
        if self._cookies:
            jar.update_cookies(self._cookies, URL(self._base))
        self._options |= {"cookie_jar": jar, "response_class": Reply, "auto_decompress": False}
        self._connector = aiohttp.TCPConnector(**self._of_connector)
        self.client = _once_only(
            aiohttp.ClientSession(connector=self._connector, headers=self._headers, **self._options)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if "_abroad" in self.__dict__:
            await self._abroad.close()
        await self.client.close()

    @cached_property
    def _abroad(self) -> aiohttp.ClientSession:
        """The same for other origins: nothing that is meant for one's own."""
        options = {name: value for name, value in self._options.items() if name != "middlewares"}
        return _once_only(
            aiohttp.ClientSession(
                connector=self._connector,
                connector_owner=False,
                headers=without_credentials(self._headers),
                **options,
            )
        )

    @property
    def closed(self) -> bool:
        return self.client.closed

    @property
    def headers(self) -> CIMultiDict[str]:
        """Those of every request to come, to be added to; what is added goes to the origin of ``base_url`` only."""
        return self.client.headers

    def get(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("GET", url, options))

    def post(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("POST", url, options))

    def put(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("PUT", url, options))

    def patch(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("PATCH", url, options))

    def delete(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("DELETE", url, options))

    def head(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("HEAD", url, options))

    def options(self, url: str | URL, **options: Any) -> Asked:
        return Asked(self._ask("OPTIONS", url, options))

    def request(self, method: str, url: str | URL, **options: Any) -> Asked:
        """Ask for something.

        Args:
            method: GET, POST, ...
            url: a path, which is appended to ``base_url``, or an address.
            options: of ``aiohttp.ClientSession.request``: ``params``, ``headers``, ``json``, ``data``, ...; also
                ``auth``, ``total`` and ``raise_for_status`` for this request.

        Raises:
            aiohttp.ClientResponseError: the answer's status is 400 or more.
            AttemptTimeout: it took longer than ``total``.
            BodyTooLarge: the answer has more bytes than allowed.
            aiohttp.ClientError: anything else.
        """
        return Asked(self._ask(method.upper(), url, options))

    async def _ask(self, method: str, url: str | URL, options: dict[str, Any]) -> Reply:
        raises = options.pop("raise_for_status", self._raises)
        total = options.pop("total", self._limits.total)
        if "auth" in options:
            headers = CIMultiDict(options.get("headers") or ())
            headers["Authorization"] = _basic(options.pop("auth"))
            options["headers"] = headers
        client, address = self._where(url)
        # Who has an answer goes first: bodies that came together are parsed one after the other, while the parser
        # is warm, and then the next requests go out. With Polars that is worth a fifth of the time.
        await asyncio.sleep(0)
        scope = asyncio.timeout(total)
        try:
            async with scope:
                reply = await self._send(client, method, address, options)
                await reply.load(self._limits, raises=raises)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise overdue(method, str(address), total) from error
        if raises:
            reply.raise_for_status()
        return reply

    async def _send(
        self, client: aiohttp.ClientSession, method: str, address: str | URL, options: dict[str, Any]
    ) -> Reply:
        follow = options.pop("allow_redirects", True)
        most = options.pop("max_redirects", _MOST_REDIRECTS)
        reply = await _once(client, method, address, options)
        if not follow or not leads_on(reply):
            return reply
        history: list[Reply] = []
        while leads_on(reply):
            reply.release()
            if len(history) == most:
                raise aiohttp.TooManyRedirects(reply.request_info, tuple(history), status=reply.status)
            history.append(reply)
            there = target(reply)
            method, options, at_home = moved(reply, there, method, options)
            if not at_home:
                client = self._abroad  # and it stays there: whoever sent us back may not use our credentials
            reply = await _once(client, method, there, options)
        reply._history = tuple(history)
        return reply

    def _where(self, url: str | URL) -> tuple[aiohttp.ClientSession, str | URL]:
        if not self._base:
            return self.client, url
        if isinstance(url, str) and "://" not in url.partition("?")[0]:
            return self.client, f"{self._base}/{url.removeprefix('/')}"
        return self.client if same_origin(self._base, str(url)) else self._abroad, url


def _once_only(client: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Have it send a request once: by itself it repeats a GET, PUT or DELETE whose connection broke.

    No pace would count that, and a write might be done twice.
    """
    client._retry_connection = False
    return client


def _basic(auth: tuple[str, str]) -> str:
    user, password = auth[:2]  # an aiohttp.BasicAuth is a pair, too
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


async def _once(
    client: aiohttp.ClientSession, method: str, address: str | URL, options: dict[str, Any]
) -> Reply:
    try:
        return await client.request(method, address, allow_redirects=False, **options)  # type: ignore[return-value]
    except aiohttp.ClientResponseError as error:
        if isinstance(error.__cause__, HttpProcessingError):  # aiohttp gives it the status 400
            text = f"what {address} sent is not HTTP: {error.message}"
            raise aiohttp.ClientPayloadError(text) from error
        raise
