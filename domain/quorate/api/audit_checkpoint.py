"""AuditCheckpoint: the newest signed tree head of a chain, and its verification (api.md, audit.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import Count, Digest, Model, ResourceName, Time, matching, some, text, within


class Verify(StrEnum):
    """How much of the log is re-derived."""

    NONE = "None"
    SINCE_LAST = "SinceLast"
    FULL = "Full"


class Archive(Model):
    """Where entries go that leave the database."""

    name: ResourceName
    """Name of an archive that the operator is configured with (`--archives NAME=DIR`)."""
    after_days: Annotated[int, within(1, 36_500)] | None = None
    """Age at which entries are archived, whole partitions only; absent: 400."""


class AuditCheckpointSpec(Model):
    """What is wanted of the chain."""

    chain: Annotated[str, matching(r"[^\s]+", 512)]
    """The chain: `<meshId>/<TrustDomain name>` or `system`."""
    verify: Verify | None = None
    """How much is re-derived at each checkpoint; absent: SinceLast."""
    require_witnesses: Annotated[int, within(0, 64)] | None = None
    """How many ComplianceWitness members must have cosigned a checkpoint; proofs of decisions wait for them too."""
    archive: Archive | None = None
    """Where old entries go."""


class Cosignature(Model):
    """A witness's signature of the checkpoint."""

    name: Annotated[str, text(253)]
    """Name of the witness's key."""
    at: Time
    """When it signed."""


class ConsistencyProof(Model):
    """That the tree continues an older one: what a witness needs that saw that one last (RFC 6962, 2.1.2)."""

    size: Count
    """Size of the older tree."""
    root: Annotated[str, text(64)]
    """Its root by this log, base64; a witness that saw another one has proof of two histories."""
    proof: Annotated[list[Annotated[str, text(64)]], some(64)]
    """The hashes, base64, up to the tree of status.size."""


class OpenQuarantine(Model):
    """Why nothing is appended to the chain; what resumes it: docs/quarantine.md."""

    number: Count
    """Which one of the chain, from 1."""
    cause: Annotated[str, text(63)]
    """The kind of finding."""
    message: Annotated[str, text(1024)]
    """The finding."""
    raised_at: Time
    """When it was raised."""
    epoch: Count
    """Epoch of the chain."""
    size: Count
    """Entries of the chain in the database."""
    head: Digest
    """Chain hash of the last of them."""
    needs_finding: bool | None = None
    """Whether only a signed, written finding resumes it."""


class Archived(Model):
    """How far the chain was archived."""

    name: Annotated[str, text(253)]
    """The archive."""
    size: Count
    """Entries from the first on that are in archives and no longer in the database."""
    message: Annotated[str, text(1024)] | None = None
    """Why it does not go on."""


class AuditCheckpointStatus(Status):
    """The newest checkpoint."""

    size: Count | None = None
    """Entries that it covers."""
    root: Annotated[str, text(64)] | None = None
    """Root hash of the Merkle tree, base64."""
    head: Annotated[str, text(64)] | None = None
    """Chain hash of the last entry."""
    note: Annotated[str, text(32768)] | None = None
    """The signed note, with the cosignatures."""
    cosignatures: Annotated[list[Cosignature], some(64)] | None = None
    """The witnesses that cosigned it, of the accepted revision."""
    consistency: Annotated[list[ConsistencyProof], some(64)] | None = None
    """For each size that a witness cosigned last: the proof up to this checkpoint."""
    result: Annotated[str, text(63)] | None = None
    """What the last verification found: Intact, Unanchored, Tampered or CannotTell."""
    duration_milliseconds: Count | None = None
    """How long it took."""
    verified_size: Count | None = None
    """Entries from the first on that were found intact."""
    verified_at: Time | None = None
    """When a verification last found no fault."""
    fully_verified_at: Time | None = None
    """When a verification of everything last found no fault."""
    verified_generation: Count | None = None
    """Generation of the spec for which a full verification was made."""
    archived: Archived | None = None
    """What left the database, where spec.archive asks for it."""
    quarantine: OpenQuarantine | None = None
    """The open quarantine of the chain."""


class AuditCheckpoint(Resource):
    """The newest checkpoint of one chain of the log."""

    plural: ClassVar[str] = "auditcheckpoints"
    short_name: ClassVar[str] = "ac"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Chain", ".spec.chain"),
        Column("Size", ".status.size", "integer"),
        Column("Result", ".status.result"),
        READY,
        REASON,
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Ready": "the newest checkpoint is signed, verified as wanted and cosigned by enough witnesses",
        "Verified": "the last verification, of everything or of what came since, found no fault",
    }

    spec: AuditCheckpointSpec
    """What is wanted."""
    status: AuditCheckpointStatus | None = None
    """The newest checkpoint."""
