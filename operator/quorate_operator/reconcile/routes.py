"""Which keys does a changed object concern? Collected from the relations that the reconcilers declare."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from quorate_operator.kube.resources import Key, Obj, key_of
from quorate_operator.reconcile.protocol import Reconciler, Relation
from quorate_operator.view import View


class Routes:
    """Relations by the kind that changes."""

    def __init__(self, reconcilers: Sequence[Reconciler[Any]], view: View) -> None:
        self._view = view
        self._relations: dict[str, list[Relation]] = defaultdict(list)
        for reconciler in reconcilers:
            for kind, relation in reconciler.relations.items():
                self._relations[kind].append(relation)

    def touched(self, obj: Obj) -> Iterator[Key]:
        """The object itself and every key that it concerns; call it for the old and the new state of an object."""
        yield key_of(obj)
        for relation in self._relations.get(obj["kind"], ()):
            yield from relation(obj, self._view)
