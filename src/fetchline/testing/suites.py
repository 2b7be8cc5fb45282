"""What the suites share: how an author says what is under test, and which promises are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

__all__ = ["given", "if_promised", "skip_unless"]

F = TypeVar("F", bound=Callable[..., Any])


def given(request: pytest.FixtureRequest, name: str, plain: tuple[type, ...]) -> Any:
    """What the author gave: the attribute of that name, if it is of a plain kind, else what the fixture gives."""
    value = getattr(request.cls, name, None)
    if isinstance(value, plain):
        return value
    try:
        return request.getfixturevalue(name)
    except pytest.FixtureLookupError as error:
        if error.argname != name:  # a fixture that the author's own one asks for
            raise
        pytest.fail(
            f"{request.cls.__name__} does not say what is under test: give it an attribute {name} = ..., or a "
            f"fixture {name} of the scope of the class",
            pytrace=False,
        )


def if_promised(*promises: str) -> Callable[[F], F]:
    """Mark a test that holds those only who make these promises; it is skipped for others."""

    def mark(test: F) -> F:
        test.promises = promises  # type: ignore[attr-defined]
        return test

    return mark


def skip_unless(request: pytest.FixtureRequest, missing: Mapping[str, str]) -> None:
    """Skip the test if one of its promises is ``missing``, with the reason given there."""
    for promise in getattr(request.function, "promises", ()):
        if promise in missing:
            pytest.skip(missing[promise])
