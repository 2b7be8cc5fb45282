"""Options of a run: ``BatchConfig``, and where a value comes from when the call does not give it.

Precedence: call keyword > ``config=`` > environment (``FETCHLINE_EXECUTOR`` ...) > ``[tool.fetchline]`` in
pyproject.toml or fetchline.toml > default.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fetchline.durations import check_seconds
from fetchline.retry import check_count
from fetchline.reuse import check_reuse
from fetchline.sizes import parse_size

if TYPE_CHECKING:
    from fetchline.registry import Registry

__all__ = ["BatchConfig", "resolve", "settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How a batch is run; the fields are the keywords of ``fetchline.run``, and None is "not said".

    Args:
        executor: a name, ``fetchline.use(name, ...)``, an executor object, or a factory of one.
        executor_factory: the same as ``executor``, under the name some users know.
        workers: threads, processes or cluster slots; ``max_workers`` is the same.
        concurrency: attempts in flight, at the most.
        params: keyword arguments that are the same for every item.
        on_error: ``"collect"`` keeps failures as results; ``"raise"`` stops at the first completed one.
        progress: a name, ``fetchline.use(name, ...)``, a backend object, None, False or ``"none"``.
        on_progress: called as ``on_progress(done, total)`` for each item that finishes here.
        key: gives the key of an item.
        window: items past the last one handed out, at the most (streams); or what the results held may take,
            such as ``"500MB"``: those in flight are reckoned at the average so far.
        dedupe: fetch items with equal keys once, and fill every place; on streams, within the window.
        deadline: seconds the whole run may take; the rest are failures then.
        store: where results are kept: a path, a URL, ``fetchline.Files(...)``, or ``fetchline.use(name, ...)``.
        reuse: which stored results are used: ``"successes"`` (the default), ``"all"``, ``"none"``,
            ``fetchline.fresh("1d")``, ``fetchline.except_last(2)``, or a function of what is stored.
        on_change: what to do where the store has results of another version, schema, params or fetcher:
            ``"refuse"`` (the default), ``"keep"`` them as if they were this one's, or ``"refetch"`` everything.
        plugins: names of observer and middleware plugins that act on this run.
        registry: where names are looked up instead of the default registry.

    >>> BatchConfig.thread(workers=4).workers
    4
    """

    executor: Any = None
    executor_factory: Callable[..., Any] | None = None
    workers: int | None = None
    max_workers: int | None = None
    concurrency: int | None = None
    params: Mapping[str, Any] | None = None
    on_error: Literal["collect", "raise"] | None = None
    progress: Any = "unset"
    on_progress: Callable[[int, int | None], object] | None = None
    key: Callable[[Any], str] | None = None
    window: int | str | None = None
    dedupe: bool | None = None
    deadline: float | None = None
    store: Any = None
    reuse: Any = None
    on_change: Literal["refuse", "keep", "refetch"] | None = None
    plugins: Sequence[Any] | None = None
    registry: Registry | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "max_workers", "concurrency", "window"):
            value = getattr(self, name)
            if name == "window" and isinstance(value, str):
                _check_amount(value)
            elif value is not None:
                check_count(name, value)
        if self.deadline is not None:
            object.__setattr__(self, "deadline", check_seconds("deadline", self.deadline))
        if self.dedupe is not None and not isinstance(self.dedupe, bool):
            raise TypeError(f"dedupe must be True or False, not {self.dedupe!r}")
        if self.on_error not in (None, "collect", "raise"):
            raise ValueError(f'on_error must be "collect" or "raise", not {self.on_error!r}')
        if self.on_change not in (None, "refuse", "keep", "refetch"):
            raise ValueError(f'on_change must be "refuse", "keep" or "refetch", not {self.on_change!r}')
        check_reuse(self.reuse)
        if self.params is not None and not isinstance(self.params, Mapping):
            raise TypeError(f"params must map parameter names to values, not {self.params!r}")
        for name in ("key", "on_progress", "executor_factory"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be a function, not {value!r}")
        for one, other in (("workers", "max_workers"), ("executor", "executor_factory")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} are the same thing: give one of them")
        if self.registry is not None and not (
            hasattr(self.registry, "register") and hasattr(self.registry, "__getitem__")
        ):
            raise TypeError(f"registry must be a fetchline.Registry, not {self.registry!r}")
        if isinstance(self.plugins, str):
            raise TypeError(f"plugins must be a list of names: [{self.plugins!r}]")

    @classmethod
    def serial(cls, **options: Any) -> BatchConfig:
        """Everything in the caller's thread."""
        return cls(executor="serial", **options)

    @classmethod
    def thread(cls, workers: int | None = None, **options: Any) -> BatchConfig:
        """Threads, 10 unless said otherwise."""
        return cls(executor="thread", workers=workers, **options)

    @classmethod
    def process(cls, workers: int | None = None, **options: Any) -> BatchConfig:
        """Processes, one for each usable CPU unless said otherwise."""
        return cls(executor="process", workers=workers, **options)

    @classmethod
    def asyncio(cls, concurrency: int | None = None, **options: Any) -> BatchConfig:
        """Coroutines on one event loop, 10 at once unless said otherwise."""
        return cls(executor="asyncio", concurrency=concurrency, **options)

    @classmethod
    def of(cls, executor: Any, workers: int | None = None, **options: Any) -> BatchConfig:
        """An executor of any name, such as ``"ray"``."""
        return cls(executor=executor, workers=workers, **options)


def _check_amount(window: str) -> None:
    try:
        parse_size(window)
    except ValueError as error:
        kind = TypeError if window.isdigit() else ValueError
        raise kind(f"window must be a number of items, or an amount of memory: {error}") from None


_FIELDS = {one.name: one.default for one in fields(BatchConfig)}
_WIDTHS = ("workers", "max_workers", "concurrency")
_SAME = {
    "workers": ("workers", "max_workers"),
    "max_workers": ("workers", "max_workers"),
    "executor": ("executor", "executor_factory"),
    "executor_factory": ("executor", "executor_factory"),
}
_TEXT = ("executor", "on_error", "progress")
_NUMBERS = ("workers", "concurrency", "window")
_OR_TEXT = ("window",)  # a number, or an amount of memory


def resolve(
    options: Mapping[str, Any], config: BatchConfig | None, defaults: Mapping[str, Any]
) -> BatchConfig:
    """Find each option's value, by precedence.

    Raises:
        TypeError: an option does not exist; the near ones are named.
        ValueError: a value is none of those there are, or an option says nothing without another.
    """
    for name in options:
        if name not in _FIELDS:
            raise TypeError(_no_such_option(name))
    if config is not None and not isinstance(config, BatchConfig):
        raise TypeError(f"config must be a BatchConfig, not {config!r}")
    said = {name: value for name, value in options.items() if value is not None or name == "progress"}
    if config is not None:
        for name, default in _FIELDS.items():
            value = getattr(config, name)
            if value != default and not any(same in said for same in _SAME.get(name, (name,))):
                said[name] = value
    found = dict(settings())
    found.pop("apps", None)
    if said.get("executor", said.get("executor_factory")) == "serial" or any(
        name in said for name in _WIDTHS
    ):
        # A width that was said stands alone: half of one from the call and half from a file do not fit.
        for name in ("workers", "concurrency"):
            found.pop(name, None)
    for name, value in {**defaults, **found}.items():
        if not any(same in said for same in _SAME.get(name, (name,))):
            said[name] = value
    resolved = BatchConfig(**said)
    for name in ("reuse", "on_change"):
        if options.get(name) is not None and resolved.store is None:
            raise ValueError(f"{name}= says what is done with what is in a store: give store= too")
    if resolved.max_workers is not None:
        resolved = replace(resolved, workers=resolved.max_workers, max_workers=None)
    if resolved.executor_factory is not None:
        resolved = replace(resolved, executor=resolved.executor_factory, executor_factory=None)
    return resolved


def _no_such_option(name: str) -> str:
    if name in _POLICIES:
        return f"{name} is a fetcher's policy, not an option of a run: write fetcher.replace({name}=...)"
    if name == "as_completed":
        return "run has no option 'as_completed': a batch is in input order; stream and astream have it"
    import difflib

    near = difflib.get_close_matches(name, [*_FIELDS, "config", *_POLICIES], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(_FIELDS)}"
    if near and near[0] in _POLICIES:
        hint = f"did you mean the fetcher's policy {near[0]!r}? Write fetcher.replace({near[0]}=...)"
    return f"run has no option {name!r}; {hint}"


_POLICIES = (
    "retry",
    "session",
    "timeout",
    "pace",
    "schema",
    "decode",
    "idempotent",
    "patience",
    "bulk",
    "check",
    "key_column",
    "undo",
)


def settings() -> Mapping[str, Any]:
    """What the environment and the project file say, the environment first."""
    out: dict[str, Any] = dict(_project(os.getcwd()))  # noqa: PTH109  # for every run; see _candidates
    for name in (*_TEXT, *_NUMBERS, "plugins", "apps"):
        text = os.environ.get(f"FETCHLINE_{name.upper()}")
        if text:
            out[name] = _typed(name, text)
    return out


def _typed(name: str, text: str) -> Any:
    if name in _NUMBERS:
        try:
            return int(text)
        except ValueError:
            if name in _OR_TEXT:
                return text
            raise ValueError(f"FETCHLINE_{name.upper()} must be a whole number, not {text!r}") from None
    if name in ("plugins", "apps"):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _project(folder: str) -> Mapping[str, Any]:
    for path in _candidates(folder):
        try:
            stamp = os.stat(path).st_mtime_ns  # noqa: PTH116
        except OSError:
            continue
        return _read(path, stamp)
    return {}


@functools.lru_cache(maxsize=8)
def _candidates(folder: str) -> Sequence[str]:
    # As text: this is done for every run, and paths cost more than looking whether they exist.
    folders = (Path(folder), *Path(folder).parents)
    return [str(one / name) for one in folders for name in ("fetchline.toml", "pyproject.toml")]


@functools.lru_cache(maxsize=8)
def _read(file_name: str, stamp: int) -> Mapping[str, Any]:
    import tomllib

    path = Path(file_name)
    with path.open("rb") as file:
        content = tomllib.load(file)
    table = content if path.name == "fetchline.toml" else content.get("tool", {}).get("fetchline", {})
    known = {*_TEXT, *_NUMBERS, "plugins", "apps"}
    for name in table:
        if name not in known:
            raise ValueError(f"{path}: fetchline has no setting {name!r}; it has {', '.join(sorted(known))}")
    return dict(table)
