"""Policies by watch and from the disk: what was accepted is written down before it is used, and verified when read."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from quorate.api.mission_policy import PolicyMode
from quorate.missions.distribution import (
    CONTENT,
    SIGNATURE,
    DistributionRefusedError,
    NodePolicies,
    parse,
)
from quorate.missions.policies import OWN_NAMESPACE, Policy
from quorate_agent.files import write_whole
from quorate_agent.kube import Reader

_log = logging.getLogger("quorate_agent.policies")
NODE_POLICIES = "quorate-node-policies"
"""Name of the ConfigMap (docs/missions-distribution.md)."""


class StoredPolicies:
    """`PolicySource` over a file and, where there is an API server, its ConfigMap.

    Attributes:
        refused: documents that were not accepted since the start, by field.
    """

    def __init__(self, file: Path, key: bytes, reader: Reader | None) -> None:
        self._file, self._key = file, key
        self._current = self._read()
        self._stream = None if reader is None else reader.config_map(OWN_NAMESPACE, NODE_POLICIES)
        self.refused: dict[str, int] = {}

    def cached(self) -> NodePolicies | None:
        """See `PolicySource.cached`."""
        return self._current

    def _read(self) -> NodePolicies | None:
        try:
            kept = orjson.loads(self._file.read_bytes())
            return parse(kept[CONTENT].encode(), kept[SIGNATURE], self._key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.error("%s: %s; waiting for the API server", self._file, error)
            return None

    async def next(self) -> NodePolicies:
        """See `PolicySource.next`; without an API server it waits for ever, as nothing can change."""
        stream = self._stream if self._stream is not None else _nothing()
        async for item in stream:
            found = self.offer(item)
            if found is not None:
                return found
        raise AssertionError("a watch has no end")

    def offer(self, item: Mapping[str, Any]) -> NodePolicies | None:
        """A state of the ConfigMap; None where it is refused, or what is in force already."""
        data = item.get("data") or {}
        known = None if self._current is None else self._current.seen
        try:
            content, signature = str(data.get(CONTENT, "")), data.get(SIGNATURE)
            found = parse(content.encode(), signature, self._key, known=known)
        except DistributionRefusedError as error:
            self.refused[error.field] = self.refused.get(error.field, 0) + 1
            _log.error("node policies are refused: %s", error)
            return None
        if known == found.seen:
            return None
        try:
            write_whole(self._file, orjson.dumps({CONTENT: content, SIGNATURE: signature}))
        except OSError as error:
            # In force all the same: a node without a working disk must not keep rules that were taken back.
            _log.error("%s: %s; after a restart the older policies are in force", self._file, error.strerror)
        self._current = found
        return found


async def _nothing() -> AsyncIterator[Mapping[str, Any]]:
    await asyncio.Event().wait()
    yield {}


def in_force(policies: NodePolicies, labels: Mapping[str, str], *, dry_run: bool) -> list[Policy]:
    """The policies for a node with these labels; in a dry run those in Enforce are judged as if in Warn.

    They are chosen here, so that labels may change while the agent runs: the engine takes them for every node's.
    """
    modes = {PolicyMode.ENFORCE: PolicyMode.WARN} if dry_run else {}
    return [
        replace(policy, node_labels={}, mode=modes.get(policy.mode, policy.mode))
        for policy in policies.policies
        if policy.node_labels.items() <= labels.items()
    ]
