"""An Attestation about an object of another domain: it crosses into that one (docs/trust.md, "Boundaries").

It is recorded in the chain of its own domain; what the other domain's boundary says of it, in that one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quorate.api.attestation import AttestationType
from quorate.canonical import parse_time
from quorate.trust.boundary import Border, Crossing, Verdict, has_boundary
from quorate.trust.edges import purpose_of
from quorate_operator.kube.resources import Key, Obj
from quorate_operator.reconcile.crossing import AskedRecords, asked_about, asked_kinds, crossing_subject
from quorate_operator.reconcile.docket import ATTESTED
from quorate_operator.reconcile.domains import Constitution, Domains
from quorate_operator.reconcile.protocol import Context
from quorate_operator.store.ports import Recorded
from quorate_operator.view import View

CROSSES = frozenset({AttestationType.CONTRACT_HELD, AttestationType.CONTRACT_CHANGE, AttestationType.COMPLIANCE})
"""Types that may be about an object of another domain."""


@dataclass(frozen=True)
class Into:
    """The domain into which an attestation crosses, what that asks, and the last entry about this crossing."""

    constitution: Constitution
    border: Border
    crossed: Recorded | None

    def judge(self, obj: Obj, digest: str, own: Constitution, now: int) -> Verdict:
        """What becomes of the attestation now."""
        spec, recorded = obj["spec"], parse_time(obj["metadata"]["creationTimestamp"])
        purpose = purpose_of(spec["type"])
        member = (own.history.at(now) or own.history.latest).members.get(spec["attester"])
        key = None if member is None else member.key(purpose, spec["keyName"])
        signer = None if key is None else key.public_key
        return self.border.judge(Crossing(spec["attester"], signer, digest, recorded, purpose), now)


def domain_of_subject(obj: Obj, view: View) -> str | None:
    """The domain of the object that an attestation is about, by what the operator holds; None: not known."""
    subject = obj["spec"].get("subject") or {}
    kind, name = subject.get("kind"), str(subject.get("name"))
    if kind == "TrustDomain":
        return name
    if kind == "DynamicContract":
        contract = view.get(Key(kind, "", name))
        return None if contract is None else str(contract["spec"]["trustDomain"])
    keys = view.by("GovernanceProposal", "digest", str(subject.get("digest"))) if kind == "GovernanceProposal" else ()
    found = [view.get(key) for key in keys]
    return next((str(item["spec"]["trustDomain"]) for item in found if item is not None), None)


async def gather_crossings(
    objects: Mapping[Key, Obj], digests: Mapping[Key, str], domains: Domains, kept: AskedRecords, context: Context
) -> dict[Key, Into]:
    """Where each attestation crosses into a domain that this operator decides for and that has boundaries."""
    targets = {
        key: name
        for key, obj in objects.items()
        if obj["spec"]["type"] in CROSSES
        and (name := domain_of_subject(obj, context.view)) is not None
        and name != obj["spec"]["domain"]
    }
    if not targets:
        return {}
    constitutions = {
        name: item
        for name, item in (await domains.get(context, set(targets.values()))).items()
        if item.latest.home_hub == context.config.node_id and has_boundary(item.history)
    }
    records = {
        name: [kept.of(entry) for entry in await asked_about(context, item) if entry.event_type == ATTESTED]
        for name, item in constitutions.items()
    }
    subjects = {
        key: crossing_subject(constitutions[name].chain, digests[key])
        for key, name in targets.items()
        if name in constitutions and digests[key]
    }
    heads = await context.log.heads(sorted(subjects.values())) if subjects else {}
    borders: dict[tuple[str, str], Border] = {}
    found = {}
    for key, subject in subjects.items():
        name, own = targets[key], str(objects[key]["spec"]["domain"])
        if (name, own) not in borders:
            borders[name, own] = Border(constitutions[name].history, own, records[name])
        found[key] = Into(constitutions[name], borders[name, own], heads.get(subject))
    return found


def affected(obj: Obj, constitution: Constitution, view: View) -> tuple[Key, ...]:
    """What an attestation may let cross, or stop, in its own domain: proposals of several domains, attestations."""
    if obj["spec"]["type"] not in asked_kinds(constitution.history):
        return ()
    name = constitution.latest.name
    proposals = [
        key
        for key in view.by("GovernanceProposal", "domain", name)
        if ((view.get(key) or {}).get("spec") or {}).get("domains")
    ]
    return (*proposals, *_attestations(name, view))


def _attestations(name: str, view: View) -> Sequence[Key]:
    """Attestations of other domains about this one or its contracts."""
    about = [name, *(key.name for key in view.by("DynamicContract", "domain", name))]
    keys = [key for subject in about for key in view.by("Attestation", "about", subject)]
    return [key for key in keys if ((view.get(key) or {}).get("spec") or {}).get("domain") != name]


def told_of(obj: Obj, view: View) -> Sequence[Key]:
    """Attestations of other domains about a contract or a domain that has just come or changed."""
    name = obj["metadata"]["name"]
    own = obj["spec"].get("trustDomain", name)
    specs = {key: (view.get(key) or {}).get("spec") or {} for key in view.by("Attestation", "about", name)}
    return [key for key, spec in specs.items() if spec.get("type") in CROSSES and spec.get("domain") != own]
