"""Naming a backend with options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Use"]


@dataclass(frozen=True, slots=True)
class Use:
    """A backend by name, with options for its factory; made by ``fetchline.use``.

    >>> Use("httpx", {"base_url": "https://api.example.com", "auth": ("me", "secret")})
    fetchline.use('httpx', base_url=..., auth=...)
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        # Passwords and tokens are among the options.
        return f"fetchline.use({', '.join([repr(self.name), *(f'{name}=...' for name in self.options)])})"
