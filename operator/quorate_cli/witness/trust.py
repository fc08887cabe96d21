"""Which keys may sign a log, by what the witness itself pinned: verifier keys, or a constitution from its pin on.

A hub tells nothing here that it could make up: a revision is taken only when the one before authorises it (trust.md,
"Revisions"), as far as signatures show that. A revision that a proposal or a recovery authorised shows it in the hub's
log alone, so a person accepts it by its digest.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.identity.vkey import SignerKey, VerifierKey, parse_verifier_key
from quorate_cli.cluster import Cluster
from quorate_cli.output import BadInputError, CliError, warn
from quorate_cli.witness.memory import Memory

Obj = dict[str, Any]


@dataclass(frozen=True)
class Trusted:
    """A log and the keys that may sign it, as the witness knows them."""

    origin: str
    keys: tuple[VerifierKey, ...]


@dataclass
class Pinned:
    """What the person who runs the witness gave for one TrustDomain.

    Args:
        domain: name of the TrustDomain.
        pins: `<meshId>/<name>` → digest of revision 1, of this and other domains.
        log_keys: verifier keys, of this and other logs; a log's key is named like the log.
        given: TrustDomain documents, for revisions that the cluster no longer shows.
        accepted: digests of revisions that are accepted without the signatures of admins.
    """

    domain: str
    pins: Mapping[str, str]
    log_keys: Sequence[VerifierKey]
    given: Sequence[Obj] = ()
    accepted: Collection[str] = ()
    _warned: set[str] = field(default_factory=set)

    def trusted(self, cluster: Cluster, memory: Memory, signer: SignerKey) -> Trusted:
        """The log's keys as of now; warns if the constitution does not know the witness's own key.

        Raises:
            BadInputError: nothing is pinned.
            CliError: no revision can be verified, or the domain has no log.
        """
        keys = [key for key in self.log_keys if key.name.rpartition("/")[2] == self.domain]
        origins = {key.name for key in keys} | {name for name in self.pins if name.partition("/")[2] == self.domain}
        if len(origins) > 1:
            raise BadInputError(f"--pin, --log-key: {' and '.join(sorted(origins))} are two logs of one domain name")
        if keys:
            return Trusted(keys[0].name, tuple(keys))
        origin = origins.pop() if origins else self._remembered(memory)
        return self._by_constitution(cluster, memory, origin, signer)

    def _remembered(self, memory: Memory) -> str:
        found = [origin for origin in memory.origins() if origin.rpartition("/")[2] == self.domain]
        if len(found) != 1 or not memory.constitution(found[0]):
            raise BadInputError(f"--domain {self.domain}: nothing is pinned; give --pin MESH/NAME=DIGEST or --log-key")
        return found[0]

    def _by_constitution(self, cluster: Cluster, memory: Memory, origin: str, signer: SignerKey) -> Trusted:
        known = memory.constitution(origin)
        specs = self._followed(known, self._candidates(cluster), self.pins.get(origin))
        if len(specs) > len(known):
            memory.remember_constitution(origin, specs)
        if str(signer.verifier) not in _witnesses(specs[-1]):
            revision = specs[-1]["revision"]
            self._warn(
                f"{signer.name} is a Witness key of no ComplianceWitness in revision {revision}: it counts nothing"
            )
        log = specs[-1].get("log") or {}
        if log.get("origin") != origin:
            raise CliError(f"TrustDomain {self.domain}: revision {specs[-1]['revision']} has no log {origin}")
        return Trusted(origin, tuple(parse_verifier_key(text) for text in log["keys"]))

    def _candidates(self, cluster: Cluster) -> list[Obj]:
        own = [item for item in self.given if (item.get("metadata") or {}).get("name") == self.domain]
        specs = [item.get("spec") or {} for item in (*own, cluster.get("TrustDomain", self.domain))]
        return sorted(specs, key=lambda spec: spec["revision"] if isinstance(spec.get("revision"), int) else 0)

    def _followed(self, known: Sequence[Obj], candidates: Sequence[Obj], pin: str | None) -> list[Obj]:
        """The known revisions and those that follow from them."""
        from quorate.trust.domain import AcceptedRevision, DomainHistory, DomainRevision  # noqa: PLC0415 - pydantic
        from quorate.trust.revisions import check_revision  # noqa: PLC0415

        specs, said = list(known), f"TrustDomain {self.domain}: no revision was verified"
        for spec in candidates:
            chain = [AcceptedRevision(DomainRevision(self.domain, item), 0) for item in specs]
            history = DomainHistory(chain) if chain else None
            verdict = check_revision(
                self.domain, spec, history, pin=pin, now=int(time.time()), authorised_digests=self.accepted
            )
            if verdict.accepted:
                specs.append(spec)
            elif not verdict.unchanged:
                said = f"TrustDomain {self.domain}: {verdict.reason}: {verdict.message}"
                if specs:
                    kept = f"the log keys of revision {specs[-1]['revision']} stay (see --file, --accept)"
                    self._warn(f"{said}; {kept}")
        if not specs:
            raise CliError(said)
        return specs

    def _warn(self, said: str) -> None:
        """Once: a witness looks every few seconds."""
        if said not in self._warned:
            self._warned.add(said)
            warn(said)


def _witnesses(spec: Obj) -> frozenset[str]:
    members = [item for item in spec["members"] if item["role"] == "ComplianceWitness" and not item.get("suspended")]
    keys = [key for member in members for key in member.get("keys") or ()]
    return frozenset(str(key["publicKey"]) for key in keys if key["purpose"] == "Witness")
