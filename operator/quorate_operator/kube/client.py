"""A lean async client: raw dicts over one connection pool, bounded retries, no typed models.

Answers are plain dicts as parsed. 404 is None (or False), 409 is `Conflict`, what a retry may mend is `Transient`, any
other refusal is `Stalled` with the API server's own sentence.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from quorate_operator.errors import Conflict, Stalled, Transient
from quorate_operator.kube.connection import Connection
from quorate_operator.kube.resources import BY_KIND, Key, Obj

FIELD_MANAGER = "quorate-operator"
_PAGE = 500
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_BACKOFFS = (0.1, 0.3, 1.0)
_LONGEST_WAIT = 5.0
_RETRIED = frozenset({429, 500, 502, 503, 504})


class Client:
    """One API server. Make it inside the loop that uses it; `async with` closes the pool.

    Args:
        connection: server address and credentials.
        timeout: seconds per request, all attempts excluded.
        limit: connections kept at most.
    """

    def __init__(self, connection: Connection, *, timeout: float = 10.0, limit: int = 16) -> None:
        self._connection = connection
        self._session = aiohttp.ClientSession(
            base_url=connection.server,
            connector=aiohttp.TCPConnector(ssl=connection.ssl_context(), limit=limit, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=timeout, connect=5.0),
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection pool."""
        await self._session.close()

    async def get(self, key: Key) -> Obj | None:
        """The object, or None."""
        return await self._request("GET", _path(key), missing=True)

    async def list_at(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> tuple[list[Obj], int]:
        """The objects, and the resource version that the list was made at.

        Read in pages of one consistent list; `apiVersion` and `kind` are filled in. `metadata_only`: without spec and
        status, which of Nodes are most of the bytes.
        """
        resource = BY_KIND[kind]
        named = {"apiVersion": resource.api_version, "kind": kind}
        params = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields, "continue": ""}
        items: list[Obj] = []
        while True:
            sent = {name: value for name, value in params.items() if value}
            page = await self.request(
                "GET", resource.path(namespace), params=sent, accept=_METADATA if metadata_only else _JSON
            )
            items += ({**item, **named} for item in page.get("items") or ())
            params["continue"] = page["metadata"].get("continue") or ""
            if not params["continue"]:
                return items, int(page["metadata"]["resourceVersion"])

    async def list_all(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Obj]:
        """Every object of a kind that the selectors match."""
        found = await self.list_at(kind, namespace=namespace, labels=labels, fields=fields, metadata_only=metadata_only)
        return found[0]

    async def create(self, body: Obj) -> Obj:
        """Create an object.

        Raises:
            Conflict: it exists already (also when a first attempt succeeded unseen).
        """
        meta, resource = body["metadata"], BY_KIND[body["kind"]]
        params = {"fieldManager": FIELD_MANAGER}
        return await self.request("POST", resource.path(meta.get("namespace") or ""), body=body, params=params)

    async def replace(self, body: Obj) -> Obj:
        """Replace an object; with `metadata.resourceVersion` only if it still has that version (else `Conflict`)."""
        meta = body["metadata"]
        key = Key(body["kind"], meta.get("namespace") or "", meta["name"])
        return await self.request("PUT", _path(key), body=body)

    async def patch_status(self, key: Key, patch: Mapping[str, Any]) -> Obj:
        """Merge patch of the status subresource.

        Raises:
            Conflict: `patch` names another `metadata.resourceVersion` than the object has.
                The object being gone is one, too.
        """
        answer = await self._request("PATCH", _path(key, "status"), body=patch, media="merge-patch", missing=True)
        if answer is None:
            raise Conflict(f"{key} no longer exists")
        return answer

    async def apply(self, body: Obj) -> Obj:
        """Server-side apply with force: the operator is the one writer of its children."""
        meta = body["metadata"]
        path = BY_KIND[body["kind"]].path(meta.get("namespace") or "", meta["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", path, body=body, media="apply-patch", params=params)

    async def delete(self, key: Key, *, uid: str | None = None) -> bool:
        """Delete; True if it was there. With `uid` only that very object (else `Conflict`)."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        preconditions = {"preconditions": {"uid": uid}} if uid else {}
        return await self._request("DELETE", _path(key), body={**body, **preconditions}, missing=True) is not None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        media: str = "json",
        params: Mapping[str, str] | None = None,
        accept: str = _JSON,
    ) -> Obj:
        """Any request; the parsed answer.

        Raises:
            Conflict, Transient, Stalled: see the module.
        """
        answer = await self._request(method, path, body=body, media=media, params=params, accept=accept)
        assert answer is not None
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        media: str = "json",
        params: Mapping[str, str] | None = None,
        missing: bool = False,
        accept: str = _JSON,
    ) -> Obj | None:
        data = None if body is None else orjson.dumps(body)
        for backoff in (*_BACKOFFS, None):
            try:
                status, wait, answer = await self._once(method, path, data, media, params, accept)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                status, wait, answer = 0, 0.0, {"message": f"{type(error).__name__} while asking the API server"}
            if 200 <= status < 300:
                return answer
            if status == 404 and missing:
                return None
            if status in _RETRIED or status == 0:
                if backoff is not None:
                    await asyncio.sleep(max(min(wait, _LONGEST_WAIT), backoff * random.uniform(0.5, 1.5)))  # noqa: S311
                    continue
                raise Transient("ApiUnavailable", f"{method} {path}: {_sentence(answer, status)}")
            raise _refusal(status, f"{method} {path}: {_sentence(answer, status)}")
        raise AssertionError("unreachable")

    async def _once(
        self, method: str, path: str, data: bytes | None, media: str, params: Mapping[str, str] | None, accept: str
    ) -> tuple[int, float, Obj]:
        kind = (
            f"application/{media}+json" if media.endswith("-patch") and media != "apply-patch" else "application/json"
        )
        if media == "apply-patch":
            # JSON is YAML, and the one media type that every supported server takes for server-side apply.
            kind = "application/apply-patch+yaml"
        headers = {"Accept": accept, "Content-Type": kind, **self._connection.headers()}
        async with self._session.request(method, path, data=data, params=params, headers=headers) as response:
            raw = await response.read()
            wait = response.headers.get("Retry-After", "")
            try:
                answer = orjson.loads(raw) if raw else {}
            except orjson.JSONDecodeError:
                answer = {"message": raw[:200].decode(errors="replace")}
            return response.status, float(wait) if wait.isdecimal() else 0.0, answer


def _path(key: Key, subresource: str = "") -> str:
    return BY_KIND[key.kind].path(key.namespace, key.name, subresource)


def _sentence(answer: Any, status: int) -> str:
    message = answer.get("message") if isinstance(answer, dict) else None
    return str(message or f"HTTP {status}")[:1024]


def _refusal(status: int, message: str) -> Exception:
    if status == 409:
        return Conflict(message)
    if status in (401, 403):
        # Rights and credentials are given by others and come back; a person reads the reason meanwhile.
        return Transient("Forbidden", message, retry_after=5.0)
    return Stalled("ApiRefused", message)
