"""Content that receivers must be able to fetch: immutable ConfigMaps named by digest (trust.md, "Content by digest").

Only the leader writes them, after the bytes are in the log's database. A ConfigMap that was replaced or deleted is
found by comparing its digest with its name, and made again.
"""

from quorate.canonical import hex_of_digest
from quorate_operator.kube.resources import CONTENT_LABEL, SYSTEM_NAMESPACE, Key, Obj
from quorate_operator.reconcile.protocol import Command, CreateChild, Remove
from quorate_operator.view import View


def content_name(digest: str) -> str:
    """`quorate-<64 hex>`."""
    return f"quorate-{hex_of_digest(digest)}"


def content_key(digest: str) -> Key:
    """The key of the ConfigMap that projects a content."""
    return Key("ConfigMap", SYSTEM_NAMESPACE, content_name(digest))


def content_manifest(digest: str, data: bytes) -> Obj:
    """The ConfigMap itself; no ownerReference, because content outlives the object that named it first."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": content_name(digest),
            "namespace": SYSTEM_NAMESPACE,
            "labels": {CONTENT_LABEL: "true"},
        },
        "immutable": True,
        "data": {"content": data.decode()},
    }


def is_held(view: View, digest: str) -> bool:
    """Whether the projection is there, unaltered."""
    held = view.get(content_key(digest))
    return held is not None and held["contentDigest"] == digest and bool(held.get("immutable"))


def project(view: View, digest: str, data: bytes) -> tuple[Command, ...]:
    """What makes the projection be there, unaltered; nothing if it already is."""
    key = content_key(digest)
    held = view.get(key)
    if held is None:
        return (CreateChild(content_manifest(digest, data)),)
    if is_held(view, digest):
        return ()
    return (Remove(key, held["metadata"]["uid"]), CreateChild(content_manifest(digest, data)))
