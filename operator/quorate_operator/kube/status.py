"""Status writes: a merge patch with the gathered `resourceVersion`, and only if something changes."""

from collections.abc import Mapping
from typing import Any

from quorate_operator.kube.resources import Obj


def merge_patch(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The RFC 7386 patch that turns `current` into `wanted`; lists are replaced whole, missing names removed."""
    patch: dict[str, Any] = {name: None for name in current if name not in wanted or wanted[name] is None}
    for name, value in wanted.items():
        old = current.get(name)
        if value is None or (name in current and old == value):
            continue
        patch[name] = merge_patch(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return patch


def status_patch(current: Obj, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Body for `Client.patch_status`, or None if the status already is what is wanted.

    `current` carries the `resourceVersion` that the decision was made from: a later one makes the server answer 409,
    and the caller gathers again.
    """
    patch = merge_patch(current.get("status") or {}, wanted)
    if not patch:
        return None
    return {"metadata": {"resourceVersion": current["metadata"]["resourceVersion"]}, "status": patch}
