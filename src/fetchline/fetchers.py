"""Fetchers: functions under a name, with their policies."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from fetchline.bulk import Bulk
from fetchline.durations import check_seconds
from fetchline.interfaces import SessionSpec, Use
from fetchline.pace import Pace
from fetchline.retry import ONCE, Try
from fetchline.worker.context import current

if TYPE_CHECKING:
    from fetchline.batch import Batch
    from fetchline.decode import Decode
    from fetchline.jobs import Job
    from fetchline.planner import Plan
    from fetchline.registry import Registry
    from fetchline.results import Result

__all__ = ["Fetcher", "Policies", "fetcher", "injected"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NAME = re.compile(r"[^\W\d][\w-]*(\.[^\W\d][\w-]*)*")


class _Injected:
    """The default of a parameter that fetchline fills with the session."""

    def __repr__(self) -> str:
        return "fetchline.injected"

    def __reduce__(self) -> str:
        return "injected"


injected: Any = _Injected()
"""Default of the parameter that receives the session: ``def f(item, *, session=fl.injected)``."""


_FUNCTIONS = {
    "key": "a function from item to str",
    "check": "a function of the answer and of arguments by their names, that gives True or False",
    "undo": "a function of an item and of what was returned for it",
}


@dataclass(frozen=True, slots=True)
class Policies:
    """What a fetcher declares besides its function; see ``fetcher`` for the meaning of each."""

    retry: Try = ONCE
    session: Any = None
    timeout: float | None = None
    pace: Pace | None = None
    schema: Mapping[str, Any] | None = None
    decode: Decode | None = None
    idempotent: bool = True
    patience: float = 300.0
    version: str = "1"
    key: Callable[[Any], str] | None = None
    bulk: Bulk | None = None
    key_column: str | None = None
    check: Callable[..., bool] | None = None
    undo: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("retry", Try.of(self.retry))
        put("pace", Pace.of(self.pace))
        put("bulk", Bulk.of(self.bulk))
        if self.timeout is not None:
            put("timeout", check_seconds("timeout", self.timeout))
        put("patience", check_seconds("patience", self.patience))
        if not isinstance(self.idempotent, bool):
            raise TypeError(f"idempotent must be True or False, not {self.idempotent!r}")
        if self.schema is not None and not isinstance(self.schema, Mapping):
            raise TypeError(f"schema must map column names to polars types, not {self.schema!r}")
        if self.schema is not None:
            _check_types(self.schema)
        if self.decode is not None:
            from fetchline.decode import check

            check(self.decode)
        for name, what in _FUNCTIONS.items():
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be {what}, not {getattr(self, name)!r}")
        if self.key_column is not None and not isinstance(self.key_column, str):
            raise TypeError(f"key_column must be the name of a column, not {self.key_column!r}")
        session = self.session
        if session is not None and not (isinstance(session, str | Use | SessionSpec) or callable(session)):
            hint = " (an open session cannot go to other threads and processes: give its class or a factory)"
            raise TypeError(
                "session must be a name, fetchline.use(name, ...), a context-manager class or a factory, "
                f"not {session!r}{hint if hasattr(session, '__enter__') else ''}"
            )


class Fetcher(Generic[P, R, T]):
    """A function under a name, with its policies.

    Calling it makes one plain call, with session, retries, timeout and pace: it returns what the function
    returns and raises what it raises. ``run`` and its siblings make batches of it. Made by ``fetcher``.

    Attributes:
        name: its name in the registry.
        function: the undecorated function.
        policies: retry, session, timeout, pace, ...
    """

    _bare: bool
    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], name: str, policies: Policies) -> None:
        self.function = function
        self.name = name
        self.policies = policies
        # A call with no policy but a retry costs a try block; everything else takes the long way.
        self._bare = (
            policies.session is None
            and policies.timeout is None
            and policies.pace is None
            and policies.check is None
            and policies.key_column is None
            and not self.is_async
        )
        functools.update_wrapper(self, function)

    @classmethod
    def of(cls, function: Callable[P, R], name: str | None = None, **policies: Any) -> Fetcher[P, R, Any]:
        """Make an unregistered fetcher of a function, or of another fetcher's function and policies."""
        if isinstance(function, Fetcher):
            raise TypeError(f"{function.name!r} is a fetcher already; change its policies with .replace(...)")
        if not callable(function):
            raise TypeError(f"a fetcher is made of a function, not of {function!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function; a fetcher returns the one value of an item: "
                "return a frame, or a list"
            )
        plain = getattr(function, "__name__", None) or type(function).__name__
        name = name if name is not None else re.sub(r"\W", "", plain) or "fetch"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a fetcher; write words of letters, digits, _ and -, separated by dots"
            )
        _refuse_unknown(policies)
        made = cls(function, name, Policies(**policies))
        _fits(made)
        return made

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        from fetchline.worker.attempt import is_async

        return is_async(self.function)

    @property
    def origin(self) -> tuple[str, str]:
        """Module and qualified name of the function."""
        return (
            getattr(self.function, "__module__", None) or "?",
            getattr(self.function, "__qualname__", None) or repr(self.function),
        )

    @functools.cached_property
    def session_parameter(self) -> str | None:
        """The parameter whose default is ``injected``."""
        for name, parameter in _signature(self.function).items():
            if parameter.default is injected:
                return name
        return None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._bare:
            failed = None
            if current.get() is None:
                try:
                    return self.function(*args, **kwargs)
                except Exception as error:
                    failed = error
            from fetchline.direct import call_bare

            return cast(R, call_bare(self, args, kwargs, failed))
        from fetchline.direct import call

        return cast(R, call(self, args, kwargs))

    def open(self) -> Any:
        """Keep one session open over several direct calls: ``with ohlcv.open() as fetch: fetch("AAPL")``.

        Async fetchers want ``async with``.
        """
        from fetchline.direct import aopen, open_

        return aopen(self) if self.is_async else open_(self)

    def replace(self, **changes: Any) -> Fetcher[P, R, T]:
        """Make an unregistered fetcher with other policies; the name stays.

        >>> @fetcher
        ... def quote(symbol: str) -> str:
        ...     return symbol
        >>> quote.replace(timeout=5).policies.timeout
        5.0
        """
        _refuse_unknown(changes)
        made = type(self)(self.function, self.name, replace(self.policies, **changes))
        _fits(made)
        return made

    def run(self, items: Iterable[Any], **options: Any) -> Batch[T]:
        """Run a batch; see ``fetchline.run``."""
        from fetchline.runner import run

        return run(self, items, **options)

    async def arun(self, items: Any, **options: Any) -> Batch[T]:
        """Run a batch on the caller's event loop; see ``fetchline.arun``."""
        from fetchline.runner import arun

        return await arun(self, items, **options)

    def stream(self, items: Iterable[Any], **options: Any) -> Iterator[Result[T]]:
        """Iterate over results as they come; see ``fetchline.stream``."""
        from fetchline.runner import stream

        return stream(self, items, **options)

    def astream(self, items: Any, **options: Any) -> AsyncIterator[Result[T]]:
        """Iterate over results on the caller's event loop; see ``fetchline.astream``."""
        from fetchline.runner import astream

        return astream(self, items, **options)

    def submit(self, items: Iterable[Any], **options: Any) -> Job[T]:
        """Start a batch in the background; see ``fetchline.submit``."""
        from fetchline.runner import submit

        return submit(self, items, **options)

    def plan(self, items: Iterable[Any], **options: Any) -> Plan:
        """Say what a run would do; see ``fetchline.plan``."""
        from fetchline.planner import plan

        return plan(self, items, **options)

    def __repr__(self) -> str:
        shown = [f"{n}={shown_as(v)}" for n, v in _declared(self.policies)]
        return f"<fetcher {self.name!r} of {'.'.join(self.origin)}{': ' if shown else ''}{', '.join(shown)}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise TypeError(
            f"{self.name!r} decorates a method; a fetcher needs a plain function that takes its item first"
        )

    def __reduce__(self) -> Any:
        module, qualname = self.origin
        if module != "__main__" and _look_up(module, qualname) is self:
            return _import, (module, qualname)
        return Fetcher, (self.function, self.name, self.policies)


def _check_types(schema: Mapping[str, Any]) -> None:
    """Refuse what is no type of a column, or half of one, such as ``pl.Datetime`` without a unit."""
    import polars as pl  # whoever names its types has it imported

    for name, kind in schema.items():
        try:
            pl.Schema({name: kind})
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise TypeError(f"schema: the type of {name!r} cannot be {kind!r}: {error}") from error


def _signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}  # some built-ins have none


def _fits(fetcher: Fetcher[Any, Any, Any]) -> None:
    """Refuse a check that asks for arguments the function has not got, and an undo that takes others than it gets."""
    check, bulk, undo = fetcher.policies.check, fetcher.policies.bulk, fetcher.policies.undo
    if undo is not None:
        _takes_two(fetcher.name, undo.function if isinstance(undo, Fetcher) else undo)
    if check is None:
        return
    takes = [p for p in _signature(check).values() if p.kind is not p.VAR_KEYWORD]
    least = 1 if bulk is None else 2
    if len(takes) < least or any(p.kind is p.VAR_POSITIONAL for p in takes):
        wants = "the answer" if bulk is None else "an answer and its item"
        raise TypeError(f"check= of {fetcher.name!r} must take {wants} first: {_shown(check)}")
    known = [name for name in _signature(fetcher.function) if name != fetcher.session_parameter]
    if bulk is not None:
        known = known[1:]  # the list of items: check= is for one of them
    for parameter in takes[least:]:
        if parameter.name not in known:
            raise TypeError(
                f"check= of {fetcher.name!r} asks for {parameter.name!r}, which {_shown(fetcher.function)} has not; "
                f"beside the answer it gets the function's arguments by their names: {', '.join(known)}"
            )


def _takes_two(name: str, undo: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(undo)
    except (TypeError, ValueError):
        return  # some built-ins have none
    given = {name: None for name, p in signature.parameters.items() if p.default is injected}
    try:
        signature.bind(None, None, **given)
    except TypeError as error:
        raise TypeError(
            f"undo= of {name!r} is called with an item and what was returned for it, which {_shown(undo)} does not "
            f"take: {error}"
        ) from None


def _shown(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{name}({', '.join(map(str, _signature(function).values()))})"


def shown_as(policy: Any) -> str:
    """A policy's value, for people; a function by its name, for a password may be bound to it."""
    while isinstance(policy, functools.partial):
        policy = policy.func
    return getattr(policy, "__qualname__", None) or repr(policy) if callable(policy) else repr(policy)


def _declared(policies: Policies) -> Iterator[tuple[str, Any]]:
    plain = Policies()
    for name in Policies.__dataclass_fields__:
        value = getattr(policies, name)
        if value != getattr(plain, name):
            yield name, value


def _look_up(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _import(module: str, qualname: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _refuse_unknown(policies: Mapping[str, Any]) -> None:
    for name in policies:
        if name not in Policies.__dataclass_fields__:
            raise TypeError(_no_such_policy(name))


def _no_such_policy(name: str) -> str:
    import difflib

    from fetchline.config import BatchConfig

    if name in BatchConfig.__dataclass_fields__:
        return f"{name} is an option of a run, not a policy of a fetcher: write run(..., {name}=...)"
    near = difflib.get_close_matches(name, Policies.__dataclass_fields__, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(Policies.__dataclass_fields__)}"
    return f"a fetcher has no policy {name!r}; {hint}"


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Fetcher[P, Coroutine[None, None, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Fetcher[P, R, R]: ...


@overload
def fetcher(function: Callable[P, Coroutine[Any, Any, T]], /) -> Fetcher[P, Coroutine[None, None, T], T]: ...
@overload
def fetcher(function: Callable[P, R], /) -> Fetcher[P, R, R]: ...
@overload
def fetcher(
    name: str | None = None,
    /,
    *,
    retry: Try | int | None = None,
    session: Any = None,
    timeout: Any = None,
    pace: Pace | str | None = None,
    schema: Mapping[str, Any] | None = None,
    decode: Decode | None = None,
    idempotent: bool = True,
    patience: Any = 300.0,
    version: str = "1",
    key: Callable[[Any], str] | None = None,
    bulk: Bulk | int | None = None,
    key_column: str | None = None,
    check: Callable[..., bool] | None = None,
    undo: Callable[..., Any] | None = None,
    registry: Registry | None = None,
) -> _Decorator: ...
def fetcher(target: Any = None, /, *, registry: Registry | None = None, **policies: Any) -> Any:
    """Register a function as a fetcher, under its own name or the one given.

    The decorated function keeps its signature, types and docstring, and is called as before.

    Args:
        target: the function (bare ``@fetcher``), or its name in the registry, with dots for namespaces.
        retry: a ``Try``, or the number of calls in all. Without it an item gets one call.
        session: a session's name, ``fetchline.use(name, **options)``, a context-manager class or a factory.
        timeout: seconds an attempt may take, login, pace and waits not counted.
        pace: how fast attempts may start, as ``"20/s"``, or a ``Pace``; over all workers of a run, retries included.
        schema: column names to polars types, for the frames of this fetcher; a frame that has others is a
            ``WrongAnswer``, seen in the worker.
        decode: what the bytes it returns are, for ``Batch.frame``; a call returns them as they are.
        idempotent: False for a write: an attempt whose answer was lost ends as ``unknown_outcome`` instead
            of being sent twice.
        patience: seconds an item may be held back without being charged an attempt: by a server that refuses, that
            does not answer anybody, or that is not ready yet.
        version: changes when stored results are no longer comparable.
        key: gives the key of an item that is no str, number, date or Period.
        bulk: how many items one call is for, or a ``Bulk``: the function takes a list of items, and returns a
            mapping by item, a list in their order, or one frame whose ``key_column`` says which rows are whose.
        key_column: the column of the answer that says which item a row is of. Rows of another one are a
            ``WrongAnswer``.
        check: ``check(answer, ...)`` gives False where it is not the answer to what was asked; it may ask for the
            function's arguments by their names. The attempt counts as failed, with the code ``wrong_answer``, and the
            next one gets a fresh session.
        undo: ``undo(item, value)`` undoes one success of a write; see ``Batch.undo``.
        registry: where to register instead of the default registry.

    Raises:
        TypeError, ValueError: a policy is not what it should be.
        DuplicateName: the name belongs to a function of another origin.

    >>> @fetcher("docs.square", retry=3)
    ... def square(n: int) -> int:
    ...     return n * n
    >>> square(4), square.name
    (16, 'docs.square')
    """
    _refuse_unknown(policies)
    if target is not None and not isinstance(target, str):
        if not callable(target):
            raise TypeError(f"@fetcher decorates a function, not {target!r}; options are keywords")
        return _register(target, None, registry, policies)
    return functools.partial(_register, name=target, registry=registry, policies=policies)


def _register(
    function: Callable[..., Any], name: str | None, registry: Registry | None, policies: dict[str, Any]
) -> Any:
    from fetchline import registry as registries

    made = Fetcher.of(function, name, **policies)
    (registry if registry is not None else registries.default).register(made)
    return made
