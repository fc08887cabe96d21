"""The start-up check: what the operator cannot work without, each lack as one sentence."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from quorate.api.manifests import NOTIFICATIONS
from quorate_operator.election import LEASE_NAME
from quorate_operator.errors import Fatal, Transient
from quorate_operator.kube.client import Client
from quorate_operator.kube.resources import (
    ACCESS_REVIEW,
    CONFIG_MAP,
    CRD,
    EVENT,
    GROUP,
    LEASE,
    NAMESPACE,
    OWN_KINDS,
    SYSTEM_NAMESPACE,
    Key,
    Resource,
)


class _Right(NamedTuple):
    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def _needed() -> Iterator[_Right]:
    for resource in (*OWN_KINDS, LEASE, CONFIG_MAP, NAMESPACE):
        yield from (_Right(verb, resource) for verb in ("list", "watch"))
    yield from (_Right("patch", resource, "status") for resource in OWN_KINDS)
    yield _Right("create", LEASE, namespace=SYSTEM_NAMESPACE)
    for name in (LEASE_NAME, NOTIFICATIONS):
        yield from (_Right(verb, LEASE, namespace=SYSTEM_NAMESPACE, name=name) for verb in ("get", "update"))
    yield from (_Right(verb, CONFIG_MAP, namespace=SYSTEM_NAMESPACE) for verb in ("create", "delete"))
    yield _Right("create", EVENT)
    yield _Right("get", CRD)


async def check_cluster(client: Client) -> None:
    """Every CRD is served and every right is granted.

    Raises:
        Fatal: something is missing; the message names all of it and what to do.
        Transient: the API server cannot be asked.
    """
    denied = [line for line in await asyncio.gather(*(_denied(client, right) for right in _needed())) if line]
    if denied:
        raise Fatal("RightsMissing", f"the operator may not {'; '.join(denied)}; apply manifests/rbac.yaml")
    missing = [name for name in await asyncio.gather(*(_missing_kind(client, item) for item in OWN_KINDS)) if name]
    if missing:
        raise Fatal("CrdsMissing", f"not served: {', '.join(missing)}; apply crds/ first")


async def _missing_kind(client: Client, resource: Resource) -> str | None:
    crd = await client.get(Key("CustomResourceDefinition", "", f"{resource.plural}.{GROUP}"))
    conditions = ((crd or {}).get("status") or {}).get("conditions") or ()
    established = any(item["type"] == "Established" and item["status"] == "True" for item in conditions)
    return None if established else f"{resource.plural}.{GROUP}"


async def _denied(client: Client, right: _Right) -> str | None:
    optional = {"subresource": right.subresource, "namespace": right.namespace, "name": right.name}
    attributes = {"verb": right.verb, "group": right.resource.group, "resource": right.resource.plural}
    attributes |= {name: value for name, value in optional.items() if value}
    review = {
        "apiVersion": ACCESS_REVIEW.api_version,
        "kind": ACCESS_REVIEW.kind,
        "spec": {"resourceAttributes": attributes},
    }
    answer = await client.request("POST", ACCESS_REVIEW.path(), body=review)
    if answer["status"].get("allowed"):
        return None
    if error := answer["status"].get("evaluationError"):
        raise Transient("ApiUnavailable", f"access review: {error}")
    what = "/".join(part for part in (right.resource.plural, right.subresource) if part)
    return f"{right.verb} {what}" + (f" in {right.namespace}" if right.namespace else "")
