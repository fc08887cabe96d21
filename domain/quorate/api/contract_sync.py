"""ContractSync: brings one version of a contract to many nodes, in waves (api.md)."""

from enum import StrEnum
from typing import Annotated, ClassVar

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status
from quorate.api.schema import (
    ContractVersion,
    Count,
    Digest,
    Labels,
    Model,
    Period,
    ResourceName,
    Rule,
    Seconds,
    list_of,
    some,
    text,
    within,
)

MAX_NODES = 1024


class SyncMode(StrEnum):
    """What is sent: the whole, a chain of diffs, one diff, or the smallest of them."""

    FULL = "Full"
    INCREMENTAL = "Incremental"
    DIFF = "Diff"
    AUTO = "Auto"


class Selector(Model):
    """Selects MeshNodes by label."""

    match_labels: Labels | None = None
    """Labels that must be present with these values."""


class Targets(Model):
    """Which nodes receive the contract."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.nodes) != has(self.selector)", "targets requires exactly one of nodes and selector"),
    )

    nodes: Annotated[list[ResourceName], list_of(MAX_NODES, kind="set", minimum=1)] | None = None
    """Names of MeshNodes."""
    selector: Selector | None = None
    """Selects MeshNodes."""


class Wave(Model):
    """One step of the rollout."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.percentBasisPoints) || !has(self.nodes)",
            "a wave has either percentBasisPoints or nodes",
        ),
    )

    percent_basis_points: Annotated[int, within(1, 10_000)] | None = None
    """Share of the targets reached at the end of the wave."""
    nodes: Annotated[list[ResourceName], some(MAX_NODES)] | None = None
    """Names of the MeshNodes of the wave."""


class Rollout(Model):
    """How fast, and when to stop."""

    waves: Annotated[list[Wave], some(16)] | None = None
    """The waves in order."""
    max_failures: Annotated[int, within(0, MAX_NODES)] | None = None
    """Failed nodes after which the rollout stops."""
    min_success_seconds: Seconds | None = None
    """For how long a wave must hold before the next."""
    paused: bool | None = None
    """Starts no further wave."""


class ContractSyncSpec(Model):
    """What is brought where."""

    contract: ResourceName
    """Name of the DynamicContract."""
    version: ContractVersion
    """The version."""
    digest: Digest
    """Digest of the content."""
    evidence_digest: Digest | None = None
    """Digest of the evidence that the receiver re-tallies."""
    targets: Targets
    """Which nodes."""
    mode: SyncMode | None = None
    """What is sent; absent: Auto."""
    rollout: Rollout | None = None
    """How fast."""
    deadline_seconds: Period | None = None
    """After this time the rest counts as failed."""


class WaveProgress(Model):
    """One wave so far."""

    wave: Annotated[int, within(0, 15)]
    """Index of the wave."""
    targets: Count
    """Nodes in it."""
    acknowledged: Count
    """Nodes that attested to hold the digest."""


class FailedNode(Model):
    """A node that did not take the contract."""

    node: ResourceName
    """Name of the MeshNode."""
    reason: Annotated[str, text(63)]
    """Why."""


class ContractSyncStatus(Status):
    """How far the rollout is."""

    targets: Count | None = None
    """Nodes that are to receive the contract."""
    acknowledged: Count | None = None
    """Nodes that attested to hold the digest."""
    waves: Annotated[list[WaveProgress], some(16)] | None = None
    """Progress by wave."""
    failed: Annotated[list[FailedNode], some(32)] | None = None
    """The first nodes that failed."""
    consensus_digest: Digest | None = None
    """Digest over all acknowledgements, once complete."""


class ContractSync(Resource):
    """A rollout of one contract version to many nodes."""

    plural: ClassVar[str] = "contractsyncs"
    short_name: ClassVar[str] = "csync"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Contract", ".spec.contract"),
        Column("Version", ".spec.version"),
        Column("Targets", ".status.targets", "integer"),
        Column("Acknowledged", ".status.acknowledged", "integer"),
        READY,
        REASON,
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "Ready": "every target attested to hold the digest",
    }

    spec: ContractSyncSpec
    """What is brought where."""
    status: ContractSyncStatus | None = None
    """How far it is."""
