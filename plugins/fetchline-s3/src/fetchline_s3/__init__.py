"""Durable runs in S3: ``store="s3://bucket/prefix"``."""

from __future__ import annotations

from fetchline.hookspecs import hookimpl
from fetchline.interfaces import StoreSpec
from fetchline_s3.objects import S3Objects

__all__ = ["S3Objects", "fetchline_register_stores"]


@hookimpl
def fetchline_register_stores() -> list[StoreSpec]:
    return [
        StoreSpec(
            name="s3",
            factory=S3Objects,
            schemes=("s3",),
            summary="S3, MinIO and whatever speaks the same",
        )
    ]
