"""Labels of the cluster's nodes, asked for at most each half minute: what a status says of them need not be newer."""

from collections.abc import Mapping, Sequence

from quorate_operator.errors import OperatorError
from quorate_operator.reconcile.protocol import Context

PERIOD = 30
"""Seconds."""
Labels = Sequence[Mapping[str, str]]


class NodeLabels:
    """The labels of every node, as they were at most `PERIOD` seconds ago; None while they cannot be had."""

    def __init__(self) -> None:
        self._labels: Labels | None = None
        self._asked = float("-inf")

    async def get(self, context: Context) -> Labels | None:
        """Never raises: a policy is distributed whether or not its nodes can be counted."""
        now = context.clock()
        if now - self._asked < PERIOD:
            return self._labels
        self._asked = now
        try:
            nodes = await context.client.list_all("Node", metadata_only=True)
        except OperatorError:
            return self._labels
        self._labels = [node["metadata"].get("labels") or {} for node in nodes]
        return self._labels
