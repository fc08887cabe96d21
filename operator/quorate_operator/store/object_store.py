"""Port `Files` on an object store: S3 and what speaks like it, Google Cloud Storage, Azure (extra `object-store`)."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from quorate.audit.tiles import CHECKPOINT
from quorate_operator.errors import Stalled, Transient

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_PENDING = 64
_PARALLEL = 16
# As C2SP tlog-tiles asks of whoever serves them: a bucket may be read by monitors as it is.
_MUTABLE = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}
_IMMUTABLE = {"Content-Type": "application/octet-stream", "Cache-Control": "public, max-age=31536000, immutable"}


def _client() -> "ClientConfig":
    """Bounded waits. Unencrypted connections where AWS_ALLOW_HTTP asks for them, which options given here override."""
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true"
    return {"timeout": "30s", "connect_timeout": "5s", "allow_http": plain}


class ObjectFiles:
    """Port `Files` below a URL; credentials come from the environment, as of the provider's own tools."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Raises:
            Stalled: `ObjectStoreUnusable`, obstore is not installed or does not take the URL.
        """
        try:
            from obstore.store import from_url  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise Stalled(
                "ObjectStoreUnusable", f"{url}: needs the extra: pip install quorate[object-store]"
            ) from error
        self._url = url
        try:
            self._store: ObjectStore = from_url(url, client_options=_client(), retry_config=_RETRY)
        except Exception as error:
            raise Stalled("ObjectStoreUnusable", f"{url}: {error}") from error
        self._pending: list[tuple[str, bytes]] = []

    def read(self, name: str, limit: int) -> bytes | None:
        """Port `Files`."""
        with self._translated(name):
            try:
                found = self._store.get(name)
            except FileNotFoundError:
                return None
            return None if found.meta["size"] > limit else bytes(found.bytes())

    def write(self, name: str, data: bytes) -> None:
        """Port `Files`: collected, and sent side by side."""
        self._pending.append((name, data))
        if len(self._pending) >= _PENDING:
            self.flush()

    def flush(self) -> None:
        """Port `Files`."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for done in [pool.submit(self._put, *item) for item in self._pending]:
                done.result()
        self._pending.clear()

    def _put(self, name: str, data: bytes) -> None:
        attributes = _MUTABLE if name.rpartition("/")[2] == CHECKPOINT else _IMMUTABLE
        with self._translated(name):
            self._store.put(name, data, attributes=attributes)

    def folders(self, name: str) -> list[str]:
        """Port `Files`."""
        with self._translated(name):
            found = self._store.list_with_delimiter(name or None)["common_prefixes"]
            return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found)

    def remove_folder(self, name: str) -> None:
        """Port `Files`."""
        with self._translated(name):
            names = [item["path"] for page in self._store.list(name) for item in page]
            if names:
                self._store.delete(names)

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra

        try:
            yield
        except (BaseError, OSError) as error:
            reason = str(error).splitlines()[0][:300]
            raise Transient("FilesUnavailable", f"{self._url}, {name}: {reason}", retry_after=5.0) from error
