"""Kinds that are stored but not acted on yet: they say so instead of looking healthy (api.md, Conventions)."""

from collections.abc import Mapping, Sequence

from quorate.api.conditions import not_implemented
from quorate_operator.kube.conditions import status_with
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.protocol import Context, Plan, Relation


class NotBuilt:
    """Ready=False, Stalled=True, NotImplemented."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.relations: Mapping[str, Relation] = {}

    async def gather(self, keys: Sequence[Key], context: Context) -> dict[Key, Obj]:
        """The objects themselves."""
        found = {key: context.view.get(key) for key in keys}
        return {key: obj for key, obj in found.items() if obj is not None}

    def decide(self, gathered: Obj, now: int) -> Plan:
        """The same answer for every object."""
        return Plan(status=status_with(gathered, {}, not_implemented(self.kind), now=now))
