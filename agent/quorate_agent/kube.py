"""Reading from the API server: one ConfigMap, watched, and the labels of the node. There is no verb that writes."""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson

_log = logging.getLogger("quorate_agent.kube")
WATCH_SECONDS = 300
MOST_BACK_OFF = 30.0
MOST_LINE = 4 * 2**20
"""Bytes of one watch event; a ConfigMap has at most one MiB."""
FAILURES = (httpx.HTTPError, ValueError, KeyError, OSError)


def client(url: str, token: Path | None, ca: Path | None) -> httpx.AsyncClient:
    """A client that reads its token again for each request, since the kubelet renews it in place."""

    async def authorize(request: httpx.Request) -> None:
        if token is not None and token.exists():  # noqa: ASYNC240 - a few bytes of a memory file system
            request.headers["Authorization"] = f"Bearer {token.read_text().strip()}"  # noqa: ASYNC240

    context: ssl.SSLContext | bool = False
    if url.startswith("https://"):
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    return httpx.AsyncClient(
        base_url=url, verify=context, timeout=10, event_hooks={"request": [authorize]}, trust_env=False
    )


class Reader:
    """What the agent reads.

    Args:
        http: of the API server.
        connected: told whether it answers.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.connected = False

    async def labels(self, node: str) -> Mapping[str, str] | None:
        """The node's labels; None where they cannot be had."""
        try:
            answer = await self._http.get(f"/api/v1/nodes/{node}")
            answer.raise_for_status()
            return dict(answer.json()["metadata"].get("labels") or {})
        except FAILURES as error:
            _log.warning("labels of node %s: %s", node, error)
            return None

    async def config_map(self, namespace: str, name: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every state of a ConfigMap's object that is seen, for ever; again after whatever went wrong."""
        failures = 0
        while True:
            try:
                async for item in self._follow(namespace, name):
                    failures = 0
                    yield item
            except FAILURES as error:
                self.connected = False
                failures += 1
                _log.warning("ConfigMap %s: %s", name, str(error) or type(error).__name__)
            # All nodes lose the API server at one moment, and must not come back at one.
            await asyncio.sleep(min(MOST_BACK_OFF, 2 ** min(failures, 5)) * random.uniform(0.1, 0.5))  # noqa: S311

    async def _follow(self, namespace: str, name: str) -> AsyncIterator[Mapping[str, Any]]:
        """One list and one watch."""
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        chosen = {"fieldSelector": f"metadata.name={name}"}
        answer = await self._http.get(path, params=chosen)
        answer.raise_for_status()
        listed = answer.json()
        self.connected = True
        for item in listed["items"]:
            yield item
        params = chosen | {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
        params["timeoutSeconds"] = str(WATCH_SECONDS)
        timeout = httpx.Timeout(10, read=WATCH_SECONDS + 10)
        async with self._http.stream("GET", path, params=params, timeout=timeout) as stream:
            stream.raise_for_status()
            async for line in _lines(stream):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    return  # its version is too old: list again
                if event["type"] != "DELETED":
                    yield event["object"]


async def _lines(stream: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of a stream, none longer than the bound."""
    buffer = b""
    async for chunk in stream.aiter_bytes():
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        if len(buffer) > MOST_LINE:
            raise ValueError(f"a watch event is longer than {MOST_LINE} bytes")
        for line in lines:
            if line.strip():
                yield line
