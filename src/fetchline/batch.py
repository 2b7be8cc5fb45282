"""The results of one run: ``Batch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from fetchline.columns import Listed, Merged, Reading, Results
from fetchline.errors import BatchFailed
from fetchline.items import key_parts
from fetchline.results import Failure, Result, Success
from fetchline.summary import Summary

if TYPE_CHECKING:
    import polars as pl

    from fetchline.decode import Decode

__all__ = ["Batch", "of_results"]

T = TypeVar("T")
Undo: TypeAlias = "Callable[[Sequence[Result[Any]], set[int], dict[str, Any]], Batch[Any]]"


def _rows(value: Any) -> int | None:
    """How many rows a value gives in a frame, where that can be told without making one."""
    if hasattr(value, "height"):
        return int(value.height)
    if isinstance(value, list):
        return len(value)
    if isinstance(value, dict):
        columns = [len(column) for column in value.values() if isinstance(column, list | tuple)]
        return columns[0] if columns else 1
    return None


def _unpickle(
    results: list[Result[Any]],
    fetcher: str,
    schema: Any,
    summary: Summary,
    complete: bool,
    decode: Any = None,
) -> Any:
    reading = Reading(fetcher=fetcher, schema=schema, decode=decode)
    return Batch(Listed(results), reading=reading, summary=summary, complete=complete)


def of_results(
    name: str, results: list[Result[Any]], again: Callable[[list[Any]], Batch[Any]] | None = None
) -> Batch[Any]:
    """Make a batch of results that are at hand; ``again`` runs some of their items once more."""
    summary = Summary(fetcher=name, total=len(results))
    for result in results:
        summary.attempts += result.attempts
        summary.ran_s += result.ran_s
        if isinstance(result, Success):
            summary.succeeded += 1
            summary.empty += result.empty
        else:
            summary.failed += 1
            summary.codes[result.error_code] += 1
            summary.first_keys.setdefault(result.error_code, result.key)
    summary.calls = summary.attempts
    return Batch(Listed(results), reading=Reading(fetcher=name), summary=summary, again=again)


class Batch(Sequence[Result[T]], Generic[T]):
    """The results of one run, one for each item taken, in input order.

    A sequence of ``Result``: ``batch[0]``, ``len(batch)``, iteration and slices (lists) work as on a list.

    Attributes:
        summary: counts, times, advice.
        complete: False if the run was stopped before its end.

    >>> import fetchline as fl
    >>> def double(n: int) -> dict:
    ...     return {"twice": [2 * n]}
    >>> batch = fl.run(double, [1, 2], progress=None)
    >>> batch.frame()["twice"].to_list(), batch.n_failed
    ([2, 4], 0)
    """

    __slots__ = ("_again", "_reading", "_results", "_undo", "_undone", "complete", "summary")

    def __init__(
        self,
        results: Results,
        *,
        reading: Reading,
        summary: Summary,
        complete: bool = True,
        again: Callable[[list[Any]], Batch[Any]] | None = None,
        undo: Undo | None = None,
        undone: set[int] | None = None,
    ) -> None:
        self._results = results
        self._reading = reading
        self._again = again
        self._undo = undo
        self._undone = set() if undone is None else undone
        self.summary = summary
        self.complete = complete

    def get(self, index: int) -> Result[T]:
        """The result at ``index``, from 0."""
        return self._results.get(index)

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> Result[T]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result[T]]: ...
    def __getitem__(self, index: int | slice) -> Result[T] | list[Result[T]]:
        if isinstance(index, slice):
            return [self._results.get(i) for i in range(*index.indices(len(self)))]
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f"index {index} is outside a batch of {size} results")
        return self._results.get(index % size)

    def __iter__(self) -> Iterator[Result[T]]:
        for index in range(len(self)):
            yield self._results.get(index)

    # -- reading --------------------------------------------------------------------------------------------

    @property
    def successes(self) -> list[Success[T]]:
        """Every Success, in input order."""
        return [result for result in self if isinstance(result, Success)]

    @property
    def failures(self) -> list[Failure]:
        """Every Failure, in input order."""
        return [result for result in self if isinstance(result, Failure)]

    @property
    def values(self) -> list[T]:
        """The values of the successes, in input order."""
        return [result.value for result in self if isinstance(result, Success)]

    @property
    def n_succeeded(self) -> int:
        return self.summary.succeeded

    @property
    def n_failed(self) -> int:
        return self.summary.failed

    def frame(
        self, key: str | tuple[str, ...] | None = "key", *, decode: Decode | None = None
    ) -> pl.DataFrame:
        """Join the values of the successes to one frame, in input order.

        Bodies are read as if each were read alone, mostly many at a time; types are inferred over all rows
        of a body, and those of the bodies have to agree as those of frames do.

        Args:
            key: the name of the String column that says which item a row came from, put first; None leaves
                it out; a tuple of names takes the keyword arguments of ``grid`` items apart.
            decode: what the values are, if they are bytes or text: ``"csv"``, ``"ndjson"``, ``"json"``,
                ``"parquet"``, ``"ipc"``; ``fetchline.use("csv", ...)`` with options of polars' reader; or a
                function that makes a frame of one body. None means what the fetcher declares.

        Raises:
            BatchFailed: there were items and none succeeded.
            TypeError: a value is no frame and no rows, or no body; key and type are named.
            Undecodable: a body does not parse; the first such key is named.
            ValueError: frames do not fit together, or the key column's name is taken.
        """
        from fetchline import frames

        successes = [result for result in self if isinstance(result, Success) and not result.empty]
        if len(self) and not self.n_succeeded:
            raise BatchFailed(f"none of {len(self)} items succeeded: {self.summary.failures_by_code}", self)
        parts = [key_parts(result.item, key) for result in successes] if isinstance(key, tuple) else None
        values, keys = [result.value for result in successes], [result.key for result in successes]
        how, schema = decode if decode is not None else self._reading.decode, self._reading.schema
        if how is not None:
            from fetchline.decode import decode as decoded

            values = decoded(values, keys, how, schema=schema)
        return frames.join(values, keys, key=key, parts=parts, schema=schema)

    def scan(self) -> pl.LazyFrame:
        """The rows of the successes as a LazyFrame, whose first column ``key`` says which item they came from.

        What is in a store is read from there when it is collected, so the batch may be larger than memory. Rows come
        in the order in which they were stored, which is nearly that of the items; a batch that is not in a store is
        joined as ``frame`` does.

        Raises:
            StoreDamaged: a file of the store is missing, or is not what was written.
            others: as ``frame``.

        >>> import fetchline as fl
        >>> batch = fl.run(lambda n: {"twice": [2 * n]}, [1, 2], progress=None)
        >>> batch.scan().select("twice").sum().collect().item()
        6
        """
        store = self._reading.store
        rows = [row for index in range(len(self)) if (row := self._results.row(index)) is not None]
        with_values = self.n_succeeded - self.summary.empty
        if store is not None and rows and len(rows) == with_values and self._reading.decode is None:
            lazy = store.scan(rows)
            if lazy is not None:
                return lazy
        return self.frame().lazy()

    def report(self) -> pl.DataFrame:
        """One row for each item.

        Columns: ``key``, ``status`` (success, empty, failure), ``attempts``, ``waited_s``, ``ran_s`` (of the
        last attempt), ``rows`` (of a frame), ``error_code``, ``error``.
        """
        import polars as pl

        rows = [
            (
                result.key,
                result.status,
                result.attempts,
                result.waited_s,
                result.ran_s,
                _rows(result.value) if isinstance(result, Success) else None,
                result.error_code if isinstance(result, Failure) else None,
                result.message if isinstance(result, Failure) else None,
            )
            for result in self
        ]
        schema = {
            "key": pl.String,
            "status": pl.String,
            "attempts": pl.Int64,
            "waited_s": pl.Float64,
            "ran_s": pl.Float64,
            "rows": pl.Int64,
            "error_code": pl.String,
            "error": pl.String,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def raise_for_failures(self) -> None:
        """Raise an ``ExceptionGroup`` of every failure's error, each with a note naming its key; or nothing.

        Raises:
            ExceptionGroup: at least one item failed.
        """
        errors = []
        for failure in self.failures:
            note = f"item {failure.index}, key {failure.key!r}, {failure.error_code}"
            if note not in getattr(failure.error, "__notes__", ()):
                failure.error.add_note(note)
            errors.append(failure.error)
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} of {len(self)} items failed", errors)

    def retry_failed(self) -> Batch[T]:
        """Run the failed items once more, with the options of the first run, and merge.

        Writes of ``unknown_outcome`` are left as they are: they may have arrived, and are not sent again unasked.

        Returns:
            A batch of the same length: new results where there was a failure, the old ones elsewhere.
        """
        if self._again is None:
            raise RuntimeError(
                "this batch did not come from a run of this process, so nothing can be run again here; "
                "fetchline.resume(store) goes on with one that was stored"
            )
        indexes = [failure.index for failure in self.failures if failure.error_code != "unknown_outcome"]
        if not indexes:
            return self
        later = self._again([self.get(index).item for index in indexes])
        merged: dict[int, Result[T]] = {}
        for index, result in zip(indexes, later, strict=False):
            result.index = index
            merged[index] = result
        results = Merged(self._results, merged)
        summary = later.summary
        summary.total = len(self)
        for failure in self.failures:
            if failure.index not in merged:
                summary.failed += 1
                summary.codes[failure.error_code] += 1
                summary.first_keys.setdefault(failure.error_code, failure.key)
        summary.succeeded += self.n_succeeded
        summary.empty += self.summary.empty
        summary.attempts += self.summary.attempts
        summary.calls += self.summary.calls
        summary.retried += self.summary.retried
        summary.shared += self.summary.shared
        summary.wall_s += self.summary.wall_s
        summary.ran_s += self.summary.ran_s
        return Batch(
            results,
            reading=self._reading,
            summary=summary,
            complete=later.complete,
            again=self._again,
            undo=self._undo,
            undone=self._undone,
        )

    def undo(self, **options: Any) -> Batch[Any]:
        """Undo what was written, the last item first, with the fetcher's ``undo=``: a function of item and value.

        One at a time, each tried again as the fetcher's retry policy says, or three times if it has none; a failure
        does not keep the others from being undone. Called again, it undoes what is left. What another item's write
        stood for (``origin`` shared) is undone once. With a store, writes of the same run before it was killed are
        undone too, and what was undone is not stored any more.

        Args:
            options: of the run that undoes, such as ``concurrency=8``.

        Returns:
            A batch with a result for each write, in the order they were undone. A Failure says what is still there:
            the undoing failed; or, with the code ``unknown_outcome``, nobody knows whether it was written.

        Raises:
            TypeError: the fetcher declares no ``undo=``.
            BatchInterrupted: Ctrl-C; its ``batch`` has what was undone.

        >>> import fetchline as fl
        >>> there = []
        >>> @fl.fetcher("docs.put", undo=lambda item, receipt: there.remove(receipt))
        ... def put(item: str) -> str:
        ...     there.append(item.upper())
        ...     return there[-1]
        >>> batch = fl.run(put, ["a", "b"], workers=1, progress=None)
        >>> batch.undo().n_succeeded, there
        (2, [])
        """
        if self._undo is None:
            raise RuntimeError(
                "this batch did not come from a run of this process, so nothing can be undone here; run again with "
                "the same items and store, and undo that batch"
            )
        return self._undo(self, self._undone, options)

    # -- looking --------------------------------------------------------------------------------------------

    def __reduce__(self) -> Any:
        """Pickle the results; running again what failed takes the fetcher, which stays behind."""
        reading = self._reading
        shape = (reading.fetcher, reading.schema, self.summary, self.complete, reading.decode)
        return _unpickle, (list(self), *shape)

    def __repr__(self) -> str:
        state = "" if self.complete else ", stopped early"
        codes = f": {self.summary.failures_by_code}" if self.n_failed else ""
        return (
            f"<Batch {self._reading.fetcher}: {self.n_succeeded} of {self.summary.total} succeeded, "
            f"{self.n_failed} failed{codes}{state}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        summary = self.summary
        head = (
            f"<b>{escape(self._reading.fetcher)}</b>: {self.n_succeeded:,} of {len(self):,} succeeded, "
            f"{self.n_failed:,} failed, {summary.wall_s:.2f} s on {escape(summary.executor)} "
            f"&times; {summary.concurrency}{'' if self.complete else ', stopped early'}"
        )
        rows = "".join(
            f"<tr><td>{escape(f.key)}</td><td>{f.error_code}</td><td>{f.attempts}</td>"
            f"<td>{escape(f.message[:200])}</td></tr>"
            for f in self.failures[:10]
        )
        if not rows:
            return f"<div>{head}</div>"
        more = f"<div>and {self.n_failed - 10:,} more failures</div>" if self.n_failed > 10 else ""
        header = "<tr><th>key</th><th>code</th><th>attempts</th><th>error</th></tr>"
        return f"<div>{head}</div><table>{header}{rows}</table>{more}"
