"""Quarantine of a chain and its resumption in a new epoch (audit.md, 9; docs/quarantine.md has the table of cases).

A quarantine stops the appends to one chain because what the database holds can no longer be trusted to be its history.
It ends with one entry, the first of the next epoch, in which people sign what they go on from. Nothing here asks a
database or a cluster: values in, verdicts and drafts out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quorate.audit.checkpoint import Checkpoint
from quorate.audit.entry import Draft, Tether, format_timestamp
from quorate.audit.record import Record
from quorate.canonical import canonical_bytes, decode_base64, digest_of_bytes, encode_base64

SYSTEM = "system"
RAISED = "system.quarantine.raised"
RESUMED = "system.quarantine.resumed"
FAILED = "system.verification.failed"
FLAP_SECONDS = 24 * 3600
FLAP_LIMIT = 2
"""So many quarantines of a chain in FLAP_SECONDS resume without a written finding; more never do."""
MAX_FINDING = 2000
MAX_MESSAGE = 1024
MIN_SIGNERS = 2


class Cause(StrEnum):
    """Why a chain was stopped."""

    VERIFICATION_FAILED = "VerificationFailed"
    """The verifier named a fault in what is stored."""
    DATABASE_BEHIND = "DatabaseBehind"
    """A signed checkpoint from outside covers entries that the database lacks: a restored backup, a lagging replica."""
    OTHER_HISTORY = "OtherHistory"
    """The database holds another tree than a signed checkpoint from outside says of the same size."""
    CHAIN_LOST = "ChainLost"
    """A signed checkpoint exists of a chain of which the database holds nothing."""
    SPLIT_VIEW = "SplitView"
    """A witness showed two signed checkpoints of this log that cannot both be true."""


@dataclass(frozen=True)
class Quarantine:
    """One quarantine; `number` counts from 1 in its chain, times are Unix microseconds by the database's clock.

    `epoch`, `size` and `head` (32 bytes, chain hash of the last entry) are the chain's when it was stopped.
    `resumed_at` is None while it is open. `lost` are the checkpoints that its resumption cites as history that is gone;
    `ending` is the record of that resumption, without which nobody has to believe what it says is lost.
    """

    chain_id: str
    number: int
    cause: str
    message: str
    raised_at: int
    epoch: int
    size: int
    head: bytes
    evidence: Mapping[str, Any] = field(default_factory=dict)
    resumed_at: int | None = None
    lost: tuple[Checkpoint, ...] = ()
    ending: bytes = field(default=b"", repr=False)

    @property
    def terms(self) -> dict[str, Any]:
        """What everybody who resumes it must sign, but for the finding."""
        return {
            "chain": self.chain_id,
            "quarantine": self.number,
            "epoch": self.epoch,
            "size": self.size,
            "head": _hex(self.head),
        }


@dataclass(frozen=True)
class Finding:
    """Why a chain is to be stopped, as `compare` or a verification says it."""

    cause: Cause
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class ResumptionError(ValueError):
    """An entry that begins an epoch, but is no resumption of its chain; the message names field, value and rule."""


def compare(checkpoint: Checkpoint, size: int, root: bytes | None, *, source: str, note: str) -> Finding | None:
    """What a signed checkpoint from outside says against a chain of which the database holds `size` entries.

    Args:
        checkpoint: of the chain, its signature already checked.
        size: entries in the database.
        root: the database's root at the checkpoint's size; None where that is beyond its end.
        source: where the checkpoint was kept, for people.
        note: its text, for the evidence.

    Returns:
        None if both agree.
    """
    evidence = {"note": note, "source": source, "size": size}
    if size == 0 and checkpoint.size > 0:
        message = f"the database holds nothing of the chain, but {source} has a signed checkpoint of {checkpoint.size}"
        return Finding(Cause.CHAIN_LOST, message, evidence)
    if checkpoint.size > size:
        message = f"the database has {size} entries, but {source} has a signed checkpoint of {checkpoint.size}"
        return Finding(Cause.DATABASE_BEHIND, message, evidence)
    if root != checkpoint.root:
        found = "no root" if root is None else f"root {encode_base64(root)}"
        message = f"at size {checkpoint.size} the database has {found}, the checkpoint in {source} another one"
        return Finding(Cause.OTHER_HISTORY, message, evidence)
    return None


def needs_finding(quarantine: Quarantine, all_of_chain: Sequence[Quarantine]) -> bool:
    """Whether resuming takes a written finding: it is one of more than FLAP_LIMIT in the 24 h up to its raising.

    Counted to the raising, not to the resumption, so that waiting changes nothing.
    """
    since = quarantine.raised_at - FLAP_SECONDS * 1_000_000
    return sum(since < other.raised_at <= quarantine.raised_at for other in all_of_chain) > FLAP_LIMIT


def evidence_bytes(quarantine: Quarantine) -> bytes:
    """The canonical bytes of the evidence, which its entry names by digest."""
    return canonical_bytes(dict(quarantine.evidence))


def raised_draft(quarantine: Quarantine, now: int) -> Draft:
    """The entry in chain `system` that tells of a quarantine at `now` (Unix µs); `evidence_bytes` go with it."""
    evidence = digest_of_bytes(evidence_bytes(quarantine))
    detail = {
        **quarantine.terms,
        "cause": str(quarantine.cause),
        "message": quarantine.message[:MAX_MESSAGE],
        "raisedAt": format_timestamp(quarantine.raised_at),
        "evidence": evidence,
    }
    return Draft(
        f"quarantine/{quarantine.chain_id}/{quarantine.number}",
        None,
        RAISED,
        {"kind": "Quarantine", "name": f"{quarantine.chain_id}/{quarantine.number}"},
        Tether("0"),
        now,
        about=[evidence],
        detail=detail,
    )


def resumed_draft(
    quarantine: Quarantine,
    *,
    phase_id: str,
    now: int,
    lost: Sequence[Checkpoint],
    finding: str | None,
    signatures: Sequence[Mapping[str, Any]],
    verification: Mapping[str, Any],
) -> Draft:
    """The entry that ends a quarantine, the first of the next epoch of its chain.

    Args:
        quarantine: the open one.
        phase_id: codex phase of the chain's entries.
        now: Unix microseconds.
        lost: checkpoints from outside that the chain as it goes on contradicts.
        finding: what people wrote, where they did.
        signatures: {statement, signature} each: fields of the statement that was signed, and the signature.
        verification: {verdict, checked, root} of the full verification.
    """
    detail: dict[str, Any] = {
        **quarantine.terms,
        "cause": str(quarantine.cause),
        "lost": [{"size": item.size, "root": encode_base64(item.root)} for item in lost],
        "signatures": [dict(item) for item in signatures],
        "verification": dict(verification),
    }
    if finding:
        detail["finding"] = finding
    return Draft(
        f"resumption/{quarantine.chain_id}/{quarantine.number}",
        None,
        RESUMED,
        {"kind": "Quarantine", "name": f"{quarantine.chain_id}/{quarantine.number}"},
        Tether(phase_id),
        now,
        detail=detail,
    )


def check_resumption(record: Record, content: Mapping[str, Any]) -> list[Checkpoint]:
    """Check the first entry of an epoch above 0, from its record alone; the checkpoints that it cites as lost.

    It must be a resumption (`system.quarantine.resumed`) that cites the head on which it stands: chain, epoch, size and
    head of its detail are those of the record before it, and every signed statement says the same. Whether the
    signatures are by keys of the constitution is checked by `quorate.trust.resumption`, with the constitution at hand.

    Args:
        record: of an entry whose epoch differs from its predecessor's.
        content: its parsed content.

    Raises:
        ResumptionError: it is not.
    """
    if content.get("event_type") != RESUMED:
        raise ResumptionError(
            f"epoch {record.epoch} begins with {content.get('event_type')!r}: only {RESUMED} may begin one"
        )
    detail = _object(_object(content.get("payload"), "payload").get("detail"), "payload.detail")
    cited = {
        "chain": record.chain_id,
        "quarantine": detail.get("quarantine"),
        "epoch": record.epoch - 1,
        "size": record.sequence,
        "head": _hex(record.previous),
    }
    for name, value in cited.items():
        if detail.get(name) != value:
            raise ResumptionError(f"the resumption cites {name} {detail.get(name)!r}, its place says {value!r}")
    signatures = detail.get("signatures")
    if not isinstance(signatures, list):
        raise ResumptionError("payload.detail.signatures must be a list")
    names = {_signer(item) for item in signatures}
    needed = 1 if record.chain_id == SYSTEM else MIN_SIGNERS
    if len(names) < needed:
        raise ResumptionError(f"the resumption has signatures of {len(names)} names, it takes {needed}")
    wanted = {**cited, **({"finding": detail["finding"]} if "finding" in detail else {})}
    for item in signatures:
        if _signed_terms(item) != wanted:
            raise ResumptionError(f"the statement of {_signer(item)!r} is not about this resumption")
    try:
        return lost_checkpoints(record.chain_id, detail)
    except (KeyError, TypeError, ValueError) as error:
        raise ResumptionError(f"detail.lost holds no checkpoint: {error}") from error


def lost_checkpoints(chain: str, detail: Mapping[str, Any]) -> list[Checkpoint]:
    """The checkpoints that a resumption's detail cites; ValueError, KeyError or TypeError if it has none."""
    return [Checkpoint(chain, int(item["size"]), decode_base64(item["root"], length=32)) for item in detail["lost"]]


def _object(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ResumptionError(f"{field} must be an object")
    return value


def _statement(item: Any) -> Mapping[str, Any]:
    return _object(_object(item, "a signature").get("statement"), "the statement of a signature")


def _signer(item: Any) -> str:
    return str(_statement(item).get("keyName"))


def _signed_terms(item: Any) -> dict[str, Any]:
    """The terms in a signed statement: an Attestation of type Resume states them, the installation's key signs them."""
    fields = _statement(item)
    stated = _object(fields.get("statement", fields), "what a signature states")
    names = ("chain", "quarantine", "epoch", "size", "head", "finding")
    return {name: stated[name] for name in names if name in stated}


def _hex(digest: bytes) -> str:
    return f"sha256:{digest.hex()}"
