"""Whether a fetcher's signature can take its items: asked before anything starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fetchline.fetchers import Fetcher
from fetchline.items import Args
from fetchline.worker.sessions import SessionUse

__all__ = ["bind_check", "bind_item"]


def bind_check(
    fetcher: Fetcher[Any, Any, Any], params: Mapping[str, Any], items: Sequence[Any], use: SessionUse | None
) -> None:
    """Refuse params and the first item where the function cannot be called with them.

    Args:
        items: what is at hand of the input; nothing is known of the items where it is empty.

    Raises:
        TypeError: what does not fit, and the signature.
    """
    if use is not None and use.parameter in params:
        raise TypeError(
            f"params names {use.parameter!r}, where {fetcher.name!r} gets its session; leave it out of params"
        )
    signature = _signature(fetcher)
    unknown = _unknown(signature, params)
    if unknown:
        raise TypeError(_sentence(fetcher, signature, f"params names {unknown[0]!r}, which it does not take"))
    if use is not None and use.parameter is None and signature is not None:
        plain = signature.parameters.get("session")
        if plain is not None and plain.default is plain.empty:
            raise TypeError(
                f"fetcher {fetcher.name!r} has a parameter 'session' without a default; write "
                "session=fetchline.injected in its signature to have it filled"
            )
    if len(items):
        bind_item(fetcher, params, items[0], use)


def bind_item(
    fetcher: Fetcher[Any, Any, Any], params: Mapping[str, Any], item: Any, use: SessionUse | None
) -> inspect.BoundArguments | None:
    """Bind one item; None where the function has no signature to look at.

    Raises:
        TypeError: what does not fit, and the signature.
    """
    signature = _signature(fetcher)
    if signature is None:
        return None
    session = {use.parameter: None} if use is not None and use.parameter is not None else {}
    try:
        if fetcher.policies.bulk is not None:
            return signature.bind([item], **params, **session)
        if isinstance(item, Args):
            return signature.bind(*item.args, **{**params, **item.kwargs, **session})
        return signature.bind(item, **params, **session)
    except TypeError as error:
        raise TypeError(_sentence(fetcher, signature, f"cannot take {repr(item)[:200]}: {error}")) from None


def _signature(fetcher: Fetcher[Any, Any, Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fetcher.function)
    except (TypeError, ValueError):
        return None  # some built-ins have none


def _unknown(signature: inspect.Signature | None, params: Mapping[str, Any]) -> list[str]:
    if signature is None or any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return []
    return [name for name in params if name not in signature.parameters]


def _sentence(fetcher: Fetcher[Any, Any, Any], signature: inspect.Signature | None, what: str) -> str:
    return (
        f"fetcher {fetcher.name!r} {what}. Its signature is {fetcher.function.__name__}{signature}; one item is "
        "its first argument, fetchline.Args(...) stands for several, params= are the same for all"
    )
