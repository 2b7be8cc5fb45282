"""Whether a fetcher can take its items, and a session its options: asked before anything starts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fetchline.fetchers import Fetcher
from fetchline.interfaces import SessionSpec
from fetchline.items import Args
from fetchline.worker.sessions import SessionUse

__all__ = ["bind_check", "bind_item", "bind_session"]


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
    signature = _signature(fetcher.function)
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
    signature = _signature(fetcher.function)
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


def bind_session(fetcher: Fetcher[Any, Any, Any], spec: SessionSpec, options: Mapping[str, Any]) -> None:
    """Refuse a session that could be opened for no item.

    Raises:
        TypeError: it is for async functions only, its factory gives no context manager, or the factory does not
            take these options.
    """
    session = f"session {spec.name!r}"
    factory = spec.async_factory if fetcher.is_async and spec.async_factory is not None else spec.factory
    only_async = factory is None or (
        isinstance(factory, type) and hasattr(factory, "__aenter__") and not hasattr(factory, "__enter__")
    )
    if only_async and not fetcher.is_async:
        summary = f": {spec.summary}" if spec.summary else ""
        raise TypeError(f"{fetcher.name!r} is not async, but {session} is for async functions only{summary}")
    if inspect.isgeneratorfunction(factory) or inspect.isasyncgenfunction(factory):
        wrapper = "asynccontextmanager" if inspect.isasyncgenfunction(factory) else "contextmanager"
        raise TypeError(
            f"{session} of {fetcher.name!r} is a bare generator: decorate it with @contextlib.{wrapper}"
        )
    if inspect.iscoroutinefunction(factory):
        raise TypeError(
            f"{session} of {fetcher.name!r} is a coroutine function, which cannot be closed; write an async "
            "generator that yields the session once, and decorate it with @contextlib.asynccontextmanager"
        )
    if options and spec.accepts is not None:
        known = sorted(spec.accepts())
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
                raise TypeError(f"{session} of {fetcher.name!r} takes no {name!r}; {hint}")
    if getattr(factory, "__globals__", {}).get("__name__") == "contextlib":
        factory = _undecorated(factory)  # what it makes passes on what it is given
    signature = _signature(factory, follow_wrapped=False)  # what others make may add to it
    try:
        if signature is not None:
            signature.bind(**options)
    except TypeError as error:
        raise TypeError(
            f"{session} of {fetcher.name!r} cannot be opened: {error}; its signature is {signature}"
        ) from None


def _undecorated(function: Any) -> Any:
    wrapped = function.__wrapped__
    return wrapped.__get__(function.__self__) if inspect.ismethod(function) else wrapped


def _signature(function: Any, *, follow_wrapped: bool = True) -> inspect.Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=follow_wrapped)
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
