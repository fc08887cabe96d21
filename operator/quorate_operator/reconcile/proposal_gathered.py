"""What one decision about a GovernanceProposal is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from quorate.conflicts.document import Found
from quorate.contracts.content import Content
from quorate.contracts.form import ContractRefusedError
from quorate.identity.statements import Statement
from quorate.lazy import lazy
from quorate.proposals.bundle import RevisionRecord
from quorate.proposals.execution import Situation
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.contract import genesis_refusal
from quorate_operator.reconcile.docket import Docket
from quorate_operator.reconcile.domains import Constitution
from quorate_operator.reconcile.protocol import Command
from quorate_operator.store.ports import Recorded


@dataclass(frozen=True)
class Contract:
    """A contract on this cluster: its object, its last entry, and the content that this entry put in force.

    `domain` is its object's trustDomain, None where that is not in force; `data` are the bytes that the last entry
    names, None where they are the genesis.
    """

    obj: Obj
    head: Recorded | None
    domain: Constitution | None
    data: bytes | None

    @lazy
    def content(self) -> Content | None:
        """What is in force: none before the first entry, none if the domain does not list the genesis."""
        obj, head, domain = self.obj, self.head, self.domain
        try:
            genesis = Content.genesis(obj["spec"]["genesis"])
            if head is None or (domain is not None and genesis_refusal(obj, genesis, domain, head) is not None):
                return None
            content = genesis if self.data is None else Content.parse(self.data)
        except ContractRefusedError:
            return None
        return content if content.digest == head.detail["digest"] else None


@dataclass(frozen=True)
class Contested:
    """What an adopted proposal meets beside its contract.

    `found` are conflicts that were not opened yet, `previous` the last entries of their digests; `parentless`: a clause
    shared with a parent that is unknown here; `missing` are the objects of open conflicts that are not there; `awaited`
    are open rivals that may yet turn out to be adopted within its timelock.
    """

    found: tuple[Found, ...] = ()
    previous: Mapping[str, UUID] = field(default_factory=dict)
    parentless: bool = False
    pods: int = 0
    missing: tuple[Obj, ...] = ()
    awaited: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Gathered:
    """Everything about one proposal at second `at`.

    `live` is the statement of the live spec, `docket` the newest revision that was opened; `contract` is what that is
    on, `live_contract` what the live spec is on. `lead` is how many seconds before the end voters are reminded.
    `unseen` are votes that must be recorded first. `evidence` are the bundle's bytes once decided, `reverse` and
    `revisions` what undoing an emergency needs; `projections` make the ConfigMaps.
    """

    obj: Obj
    at: int
    node_id: str
    constitutions: Mapping[str, Constitution]
    live: Statement | None
    docket: Docket | None
    live_heads: Mapping[str, Recorded]
    contract: Contract | None
    live_contract: Contract | None = None
    rivals: tuple[Mapping[str, Any], ...] = ()
    open_by_proposer: int = 0
    lead: int = 86_400
    unseen: tuple[Key, ...] = ()
    evidence: bytes | None = None
    reverse: bytes | None = None
    revisions: Mapping[str, Sequence[RevisionRecord]] = field(default_factory=dict)
    proof_digest: str | None = None
    projections: tuple[Command, ...] = ()
    outdated: tuple[Key, ...] = ()
    contested: Contested = field(default_factory=Contested)

    def waiting_for(self, votes: tuple[Key, ...]) -> "Gathered":
        """The same, to be looked at again when these votes were recorded."""
        return replace(self, unseen=votes)

    def situation(self, domain: Constitution, statement: Mapping[str, Any]) -> Situation:
        """What an opening or an execution meets."""
        name = statement["target"]["name"]
        shared = (domain.latest.spec.get("sharedClauses") or {}).get(name) or ()
        contract = next(
            (item for item in (self.contract, self.live_contract) if item and item.obj["metadata"]["name"] == name),
            None,
        )
        return Situation(
            accepted_digest=domain.latest.digest,
            content=None if contract is None else contract.content,
            contract_domain=None if contract is None else contract.obj["spec"]["trustDomain"],
            shared_clauses=tuple(shared),
            forked=domain.forked,
        )
