"""One round of a witness: read what the hub shows, judge it, store, cosign, show (docs/witnesses.md).

The order makes it safe to be killed anywhere: nothing is signed before it is stored, and what is stored, but was not
signed or shown, is signed and shown in the next round.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quorate.api.manifests import COSIGNATURE_PREFIX, node_namespace
from quorate.audit.checkpoint import CheckpointError, parse_checkpoint
from quorate.audit.note import NoteError, cosign, parse_note, verify_note
from quorate.audit.witness import Conflict, Cosign, Refuse, Seen, WitnessState, judge
from quorate.audit.witness_form import encode_conflict, parse_offers
from quorate.canonical import format_time
from quorate.identity.vkey import SignerKey
from quorate_cli.cluster import Cluster
from quorate_cli.output import CliError
from quorate_cli.witness.memory import Memory
from quorate_cli.witness.trust import Trusted
from quorate_operator.kube.resources import CONFLICT_ANNOTATION, COSIGNED_ANNOTATION, HEARTBEAT_LABEL

Obj = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """What became of one round: the log, what was decided of each checkpoint shown, and the state that is stored."""

    origin: str
    decisions: tuple[Cosign | Refuse, ...]
    state: WitnessState
    wrote: bool

    @property
    def size(self) -> int:
        """Of the largest tree that was seen; 0 if none was."""
        return 0 if self.state.last is None else self.state.last.size

    @property
    def refusals(self) -> list[Refuse]:
        """What was not cosigned."""
        return [decision for decision in self.decisions if isinstance(decision, Refuse)]


class Witness:
    """A witness of one node.

    Args:
        cluster: with the node's own rights.
        memory: its folder, which the caller has locked.
        signer: its Witness key.
        node: name of its MeshNode.
        clock: Unix seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        memory: Memory,
        signer: SignerKey,
        *,
        node: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._memory = memory
        self._signer = signer
        self._namespace = node_namespace(node)
        self._clock = clock

    def attend(self, log: Trusted) -> Round:
        """Look once at what the hub shows of a log.

        Raises:
            CliError: the cluster cannot be reached, or the memory cannot be read or written; nothing was cosigned.
        """
        name = f"{COSIGNATURE_PREFIX}{log.origin.rpartition('/')[2]}"
        lease = self._cluster.find("Lease", name, self._namespace)
        shown = {} if lease is None else lease["metadata"].get("annotations") or {}
        own = self._own_view(shown.get(COSIGNED_ANNOTATION), log)
        state = self._recalled(self._memory.read(log.origin), own)
        decisions: list[Cosign | Refuse] = []
        for note, consistency in self._offers(log.origin):
            decision = judge(state, note, log.keys, parse_offers(consistency))
            state = self._stored(state, decision.state)
            decisions.append(decision)
        return Round(log.origin, tuple(decisions), state, self._show(name, state, shown, own))

    def _offers(self, origin: str) -> list[tuple[str, Any]]:
        statuses = [
            item.get("status") or {}
            for item in self._cluster.list("AuditCheckpoint")
            if item["spec"].get("chain") == origin
        ]
        offers = [(item["note"], item.get("consistency")) for item in statuses if item.get("note")]
        if not offers:
            raise CliError(f"log {origin}: the cluster shows no signed checkpoint yet")
        return offers

    def _stored(self, old: WitnessState, new: WitnessState) -> WitnessState:
        if new != old:
            self._memory.write(new)
        return new

    def _recalled(self, state: WitnessState, own: Seen | None) -> WitnessState:
        """The state with what the own Lease knows better: the folder was lost, or an old copy was put back."""
        if own is None or state.conflict is not None:
            return state
        for old in self._memory.forgotten(state.origin):
            if any(item is not None and item.note == own.note for item in (old.last, *old.earlier)):
                return state
        if state.last is None or own.size > state.last.size:
            return self._stored(state, state.advanced(own))
        if own.size == state.last.size and own.root != state.last.root:
            return self._stored(state, replace(state, conflict=Conflict(state.last.note, own.note)))
        return state

    def _own_view(self, note: str | None, log: Trusted) -> Seen | None:
        """What this witness cosigned according to a note, if the log's signature and its own verify."""
        if note is None:
            return None
        try:
            verified = verify_note(note, log.keys, [self._signer.verifier])
            checkpoint = parse_checkpoint(verified.text)
        except (NoteError, CheckpointError):
            return None
        if not verified.cosignatures or checkpoint.origin != log.origin:
            return None
        return Seen(checkpoint.size, checkpoint.root, str(verified.signed_by(log.keys)))

    def _show(self, name: str, state: WitnessState, shown: Mapping[str, str], own: Seen | None) -> bool:
        """Write what is to be shown, if it is not shown yet. The one place where a cosignature is made."""
        now = int(self._clock())
        wanted = {} if own is None else {COSIGNED_ANNOTATION: shown[COSIGNED_ANNOTATION]}
        if state.conflict is not None:
            wanted[CONFLICT_ANNOTATION] = encode_conflict(state.conflict).decode()
        elif state.last is not None and (own is None or own.note != state.last.note):
            note = parse_note(state.last.note)
            wanted[COSIGNED_ANNOTATION] = str(note.extended([cosign(note.text, self._signer, at=now)]))
        if wanted == {key: shown[key] for key in (COSIGNED_ANNOTATION, CONFLICT_ANNOTATION) if key in shown}:
            return False
        self._cluster.apply(_lease(self._namespace, name, self._signer.name, wanted, now))
        return True


def _lease(namespace: str, name: str, holder: str, annotations: Mapping[str, str], now: int) -> Obj:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {HEARTBEAT_LABEL: "cosignature"},
            "annotations": dict(annotations),
        },
        "spec": {"holderIdentity": holder, "renewTime": format_time(now).replace("Z", ".000000Z")},
    }
