"""The Kubernetes API as the command line uses it: synchronous, raw dicts, one sentence per failure."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from quorate_cli.output import CliError, UnreachableError
from quorate_operator.kube.connection import Connection
from quorate_operator.kube.resources import BY_KIND, Resource

Obj = dict[str, Any]
TIMEOUT_SECONDS = 10.0
WATCH_SECONDS = 30
"""A watch is asked for anew after so long, so that a network that lost it is noticed."""
SHORTEST_WATCH_SECONDS = 0.5
"""A server that ends every watch at once is not asked more often."""
FIELD_MANAGER = "quorate-cli"
_BUSY = (429, 503)
_GONE = 410
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 0.0)
_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


class NotFoundError(CliError):
    """The object does not exist."""


class RefusedError(CliError):
    """The API server refused the request; the sentence is its own."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One API server and one identity."""

    def __init__(self, connection: Connection, *, namespace: str = "default", source: str = "") -> None:
        self.namespace = namespace
        """Namespace of the kubeconfig's current context."""
        self.source = source
        self._connection = connection
        self._url = urlsplit(connection.server)
        self._http: http.client.HTTPConnection | None = None

    def get(self, kind: str, name: str, namespace: str = "") -> Obj:
        """The object; raises NotFoundError if there is none."""
        found = self.find(kind, name, namespace)
        if found is None:
            where = f" in namespace {namespace}" if namespace else ""
            raise NotFoundError(f"{kind} {name!r} does not exist{where}")
        return found

    def find(self, kind: str, name: str, namespace: str = "") -> Obj | None:
        """The object, or None if there is none."""
        try:
            return self.request("GET", _resource(kind).path(namespace, name))
        except NotFoundError:
            return None

    def list(self, kind: str, namespace: str = "", **selectors: str) -> list[Obj]:
        """All objects of a kind, in one namespace or in all; selectors: labelSelector, fieldSelector."""
        resource = _resource(kind)
        items: list[Obj] = []
        query = {"limit": "500", **selectors}
        while True:
            page = self.request("GET", resource.path(namespace), query=query)
            items += [{"apiVersion": resource.api_version, "kind": kind, **item} for item in page.get("items") or ()]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def changes(self, kind: str, name: str, namespace: str = "") -> Iterator[Obj]:
        """The object as it is, then each later state of it.

        Raises:
            NotFoundError: there is none, or it was deleted.
            UnreachableError: no answer any more.
        """
        current = self.get(kind, name, namespace)
        yield current
        while True:
            began = time.monotonic()
            for event in self._watch(kind, namespace, name, current["metadata"]["resourceVersion"]):
                if event["type"] == "DELETED":
                    raise NotFoundError(f"{kind} {name!r} was deleted")
                if event["type"] == "ERROR":  # too old a version: read again
                    current = self.get(kind, name, namespace)
                    yield current
                    break
                current = event["object"]
                if event["type"] != "BOOKMARK":
                    yield current
            time.sleep(max(0.0, SHORTEST_WATCH_SECONDS + began - time.monotonic()))  # the server ended it

    def _watch(self, kind: str, namespace: str, name: str, version: str) -> Iterator[Obj]:
        query = {"watch": "true", "resourceVersion": version, "fieldSelector": f"metadata.name={name}"}
        query |= {"timeoutSeconds": str(WATCH_SECONDS), "allowWatchBookmarks": "true"}
        target = self._url.path.rstrip("/") + quote(_resource(kind).path(namespace)) + f"?{urlencode(query)}"
        # Of its own, because an answer that never ends would keep every other request waiting.
        connection = self._open(WATCH_SECONDS + TIMEOUT_SECONDS)
        try:
            connection.request("GET", target, headers={"Accept": "application/json", **self._connection.headers()})
            response = connection.getresponse()
            if response.status == _GONE:
                yield {"type": "ERROR"}
                return
            if response.status >= 400:
                raise RefusedError(str(_parse(response.read()).get("message")), response.status)
            for line in response:
                if line.strip():
                    event = _parse(line)
                    if "type" not in event:  # cut off
                        return
                    yield event
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(_unreachable(self._connection.server, error, self.source)) from error
        finally:
            connection.close()

    def apply(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        """Server-side apply as field manager `quorate-cli`; creates or updates, and returns the object."""
        meta = obj["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        path = _resource(obj["kind"]).path(meta.get("namespace", ""), meta["name"])
        return self.request("PATCH", path, body=obj, query=query, content_type=_APPLY)

    def create(self, obj: Obj) -> Obj:
        """Create an object; an existing one is refused."""
        path = _resource(obj["kind"]).path(obj["metadata"].get("namespace", ""))
        return self.request("POST", path, body=obj, query={"fieldValidation": "Strict"})

    def patch(self, obj: Obj, changes: Obj) -> Obj:
        """Merge `changes` into an object that was read before; refused if somebody changed it since."""
        meta = obj["metadata"]
        body = {**changes, "metadata": {"resourceVersion": meta["resourceVersion"]}}
        path = _resource(obj["kind"]).path(meta.get("namespace", ""), meta["name"])
        return self.request("PATCH", path, body=body, content_type=_MERGE)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Obj | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Obj:
        """One request; the answer as JSON.

        Raises:
            NotFoundError, RefusedError: as the API server says.
            UnreachableError: no answer.
        """
        target = self._url.path.rstrip("/") + quote(path) + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._connection.headers()}
        data = None if body is None else json.dumps(body).encode()
        for pause in _PAUSES:
            status, answer, retry = self._send(method, target, data, headers)
            if status not in _BUSY or not retry:
                break
            time.sleep(pause)  # the server asked for it and has done nothing: a storage or the server itself starts
        document = _parse(answer)
        if status < 400:
            return document
        message = str(document.get("message") or f"the API server answered {status}")
        if status == 404 and document.get("details", {}).get("name"):
            raise NotFoundError(message)
        if status == 404:
            raise NotFoundError(
                f"{message} ({path}): are the CustomResourceDefinitions installed? See `quorate doctor`"
            )
        raise RefusedError(message, status)

    def _send(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes, bool]:
        # A kept connection may have been closed by the server: one fresh attempt, where nothing was answered.
        for attempt in (1, 2):
            fresh = self._http is None
            try:
                connection = self._http = self._http or self._open()
                connection.request(method, target, data, dict(headers))
                response = connection.getresponse()
                return response.status, response.read(), response.headers.get("Retry-After") is not None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == 2 or fresh:
                    raise UnreachableError(_unreachable(self._connection.server, error, self.source)) from error
        raise AssertionError("unreachable")

    def _open(self, timeout: float = TIMEOUT_SECONDS) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._connection.ssl_context())

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._http is not None:
            self._http.close()
            self._http = None


def _parse(answer: bytes) -> Obj:
    try:
        document = json.loads(answer)
    except ValueError:
        return {"message": answer.decode(errors="replace")[:500]}
    return document if isinstance(document, dict) else {"message": str(document)[:500]}


def _unreachable(server: str, error: Exception, source: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not signed by the CA of the kubeconfig ({error.verify_message})"
    elif isinstance(error, TimeoutError):
        reason = f"no answer within {TIMEOUT_SECONDS:g} s"
    else:
        reason = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return f"API server {server} (from {source or 'the kubeconfig'}): {reason}"


def _resource(kind: str) -> Resource:
    return BY_KIND.get(kind) or _OTHERS[kind]


_OTHERS = {
    item.kind: item
    for item in (
        Resource("", "v1", "ServiceAccount", "serviceaccounts", namespaced=True),
        Resource("", "v1", "ResourceQuota", "resourcequotas", namespaced=True),
        Resource("rbac.authorization.k8s.io", "v1", "Role", "roles", namespaced=True),
        Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", namespaced=True),
        Resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    )
}
