"""Redirects: where an answer leads, and what may go along."""

from __future__ import annotations

from typing import Any

from yarl import URL

from fetchline.http import is_credential, same_origin, without_password
from fetchline_aiohttp.replies import NotFollowed, Reply

__all__ = ["leads_on", "moved", "target", "without_credentials"]

_STATUSES = frozenset({301, 302, 303, 307, 308})
_PARTS_OF_A_BODY = frozenset({"data", "json", "compress", "chunked"})


def leads_on(reply: Reply) -> bool:
    """Whether an answer redirects."""
    return reply.status in _STATUSES and "Location" in reply.headers


def target(reply: Reply) -> URL:
    """Give the address that a redirect leads to, without user and password.

    Raises:
        NotFollowed: it is none that can be requested.
    """
    text = reply.headers["Location"]
    try:
        there = reply.url.join(URL(text))
        if there.scheme in ("http", "https") and there.host:
            return there.with_user(None)
    except ValueError:
        pass  # told below
    raise NotFollowed(f"{without_password(str(reply.url))} redirects to {text!r}")


def moved(reply: Reply, there: URL, method: str, options: dict[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """Say how to ask there: the method, the options, and whether it is still the same origin.

    Raises:
        NotFollowed: the body would have to be sent again, and is gone.
    """
    options = {name: value for name, value in options.items() if name != "params"}
    status = reply.status
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
        options = {name: value for name, value in options.items() if name not in _PARTS_OF_A_BODY}
        if "headers" in options:
            options["headers"] = _without(
                options["headers"], lambda name: name.lower().startswith("content-")
            )
    elif not isinstance(options.get("data"), str | bytes | dict | list | tuple | None):
        raise NotFollowed(
            f"{without_password(str(reply.url))} wants its {method} sent to {there} instead, but a body of type "
            f"{type(options['data']).__name__} can be sent once only; give it as bytes"
        )
    at_home = same_origin(str(reply.url), str(there))
    if not at_home:
        options.pop("cookies", None)
        options.pop("middlewares", None)
        if "headers" in options:
            options["headers"] = without_credentials(options["headers"])
    return method, options, at_home


def without_credentials(headers: Any) -> list[tuple[str, str]]:
    """Those headers that any host may see."""
    return _without(headers, is_credential)


def _without(headers: Any, unwanted: Any) -> list[tuple[str, str]]:
    pairs = headers.items() if hasattr(headers, "items") else headers or ()
    return [(name, text) for name, text in pairs if not unwanted(name)]
