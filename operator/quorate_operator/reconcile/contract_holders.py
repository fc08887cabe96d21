"""Which nodes hold a content: what counts for a contract's cut-over (docs/contracts.md, "Versions").

A node says it in its heartbeat (`held`) or in a ContractHeld attestation; both are signed by its Machine key.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from quorate.api.attestation import AttestationType
from quorate.api.conditions import ConditionType, is_true
from quorate.api.trust_domain import KeyPurpose
from quorate.canonical import parse_time
from quorate.trust.attestations import judge_attestation
from quorate.trust.domain import DomainRevision
from quorate_operator.kube.resources import Obj
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.view import View

_REMEMBERED = 8192
"""Verdicts on attestations that are kept; what is forgotten is judged again."""


class Holdings:
    """What the newest verified heartbeat of each node says that it holds."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
        self._judged: dict[tuple[str, str], bool] = {}

    def note(self, domain: str, node_id: str, held: Mapping[str, str] | None) -> frozenset[str]:
        """Remember what a verified heartbeat says (None: it is verified no longer); the contractIds that changed."""
        before = self._held[domain].get(node_id) or {}
        after = held or {}
        if held is None:
            self._held[domain].pop(node_id, None)
        else:
            self._held[domain][node_id] = held
        return frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))

    def holding(self, constitution: Constitution, contract_id: str, digest: str, view: View, now: int) -> set[str]:
        """NodeIds that hold the digest of a contract, by heartbeat or attestation; members or not."""
        name = constitution.latest.name
        beats = {node for node, held in self._held[name].items() if held.get(contract_id) == digest}
        return beats | self._attested(constitution, contract_id, digest, view, now)

    def _attested(self, constitution: Constitution, contract_id: str, digest: str, view: View, now: int) -> set[str]:
        """Members that say it under this domain and of this contract by its name.

        So nothing that crosses a boundary counts, whatever that makes of it: what was signed under another domain, or
        about another domain's contract.
        """
        listed, found = constitution.latest.contracts.get(contract_id), set[str]()
        subject = None if listed is None else ("DynamicContract", listed["name"])
        for key in view.by("Attestation", "subject", digest):
            obj = view.get(key)
            about = {} if obj is None else obj["spec"]["subject"]
            if obj is not None and (about["kind"], about["name"]) == subject and self._says(obj, constitution, now):
                found.add(str(obj["spec"]["attester"]))
        return found

    def _says(self, obj: Obj, constitution: Constitution, now: int) -> bool:
        """Recorded, unexpired, and signed: a status alone proves nothing."""
        spec = obj["spec"]
        if spec["type"] != AttestationType.CONTRACT_HELD or not is_true(obj.get("status"), ConditionType.READY):
            return False
        if spec.get("expiresAt") is not None and now >= parse_time(spec["expiresAt"]):
            return False
        name = (obj["metadata"]["uid"], constitution.latest.digest)
        if name not in self._judged:
            if len(self._judged) >= _REMEMBERED:
                self._judged.clear()
            recorded = parse_time(obj["metadata"]["creationTimestamp"])
            self._judged[name] = judge_attestation(constitution.latest, spec, recorded=recorded).accepted
        return self._judged[name]


def counted(domain: DomainRevision, now: int) -> Iterable[str]:
    """NodeIds of the members that can say what they hold: a Machine key that is valid, and not suspended."""
    return (
        member.node_id
        for member in domain.members.values()
        if not member.suspended and any(key.purpose == KeyPurpose.MACHINE and key.valid_at(now) for key in member.keys)
    )
