"""Objects of a bucket, by obstore."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from fetchline.interfaces import StoredObject

__all__ = ["S3Objects"]

_PART = 16 << 20  # larger bodies go in parts of this size, and appear when the last one is there


class S3Objects:
    """Objects below a prefix of a bucket.

    What is not said is taken from the environment, under the names that the tools of AWS know (``AWS_ENDPOINT_URL``,
    ``AWS_REGION``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``), then from where the
    machine has it.

    Args:
        where: ``s3://bucket/prefix``.
        endpoint: another server than Amazon's, such as ``http://127.0.0.1:9000``.
        region: the bucket's.
        access_key_id, secret_access_key, session_token: who asks.
        timeout: seconds a request may take.
        retries: how often a request is tried again that failed on the way or with 5xx.

    Raises:
        ValueError: ``where`` names no bucket.
    """

    def __init__(
        self,
        where: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        timeout: float = 60.0,
        retries: int = 4,
    ) -> None:
        bucket, _, prefix = where.removeprefix("s3://").strip("/").partition("/")
        if not bucket or not where.startswith("s3://"):
            raise ValueError(f"a place in S3 is written like 's3://bucket/prefix', not {where!r}")
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        said = {
            "endpoint": endpoint or _environment("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
            "region": region or _environment("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
            "access_key_id": access_key_id or _environment("AWS_ACCESS_KEY_ID"),
            "secret_access_key": secret_access_key or _environment("AWS_SECRET_ACCESS_KEY"),
            "session_token": session_token or _environment("AWS_SESSION_TOKEN"),
        }
        config: Any = {name: value for name, value in said.items() if value}
        plain = (config.get("endpoint") or "").startswith("http://")
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            config=config,
            client_options={
                "allow_http": plain,
                "timeout": timedelta(seconds=timeout),
                "connect_timeout": timedelta(seconds=min(timeout, 10.0)),
            },
            retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=timeout)},
        )
        self._creates_once: bool | None = None
        options = {f"aws_{name}": value for name, value in config.items() if name != "endpoint"}
        if "endpoint" in config:
            options["aws_endpoint_url"] = config["endpoint"]
        if plain:
            options["aws_allow_http"] = "true"
        self.storage_options: Mapping[str, str] | None = options

    def put(self, name: str, data: bytes) -> None:
        with self._translated(missing=False):
            obstore.put(self._store, name, data, chunk_size=_PART)

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one of that name.

        Raises:
            OSError: the server cannot do that; this is found out the first time.
        """
        if not self._create(name, data):
            return False
        if self._creates_once is None:
            self._creates_once = not self._create(name, data)
        if not self._creates_once:
            self.delete(name)
            raise OSError(
                f"the server of {self.url} does not know conditional writes (If-None-Match), without which two runs "
                "could write at once: durable runs cannot be kept there; fetchline.Files can"
            )
        return True

    def _create(self, name: str, data: bytes) -> bool:
        try:
            with self._translated(missing=False):
                # In one piece: parts are put together without a condition.
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except FileExistsError:
            return False
        return True

    def get(self, name: str) -> bytes:
        with self._translated():
            return bytes(obstore.get(self._store, name).bytes())

    def rename(self, name: str, to: str) -> None:
        with self._translated():
            obstore.copy(self._store, name, to)
        self.delete(name)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._translated():
            obstore.delete(self._store, name)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        folder = prefix.rpartition("/")[0]  # a server's prefixes end where a part of a name does
        with self._translated(missing=False):
            now = datetime.now(UTC)
            for some in obstore.list(self._store, prefix=folder or None):
                for one in some:
                    if one["path"].startswith(prefix):
                        age_s = (now - one["last_modified"]).total_seconds()
                        yield StoredObject(one["path"], one["size"], max(0.0, age_s))

    @contextlib.contextmanager
    def _translated(self, *, missing: bool = True) -> Iterator[None]:
        """Have errors be those of the system, in one line.

        Args:
            missing: there may be no such object; else it is the bucket that is missing.
        """
        try:
            yield
        except (AlreadyExistsError, PreconditionError) as error:
            raise FileExistsError(_line(error)) from None
        except FileNotFoundError as error:
            if missing and "NoSuchBucket" not in str(error):
                raise FileNotFoundError(_line(error)) from None
            raise OSError(f"there is no bucket of {self.url}: {_line(error)}") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(f"{self.url} is not open to these credentials: {_line(error)}") from None
        except BaseError as error:
            raise OSError(f"{self.url}: {_line(error)}") from None


def _line(error: Exception) -> str:
    """What happened; below it obstore shows its own innards."""
    return str(error).partition("\n")[0]


def _environment(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)
