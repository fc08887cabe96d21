"""MeshNode: a participant's liveness and proof of possession (api.md). Role, weight and keys come from the domain."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from quorate.api.resource import AGE, READY, REASON, Column, Resource, Status, condition_column
from quorate.api.schema import Model, NodeId, Privilege, ResourceName, Role, Rule, immutable, list_of, matching, within


class ConnectionType(StrEnum):
    """How a connection is used."""

    DIRECT = "Direct"
    RELAY = "Relay"
    BACKUP = "Backup"


class Connection(Model):
    """A connection to another node of the mesh."""

    node: ResourceName
    """Name of the MeshNode at the other end."""
    type: ConnectionType
    """How the connection is used."""


class Heartbeat(Model):
    """How often the node proves that it lives and holds its key."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.graceSeconds >= self.intervalSeconds",
            "graceSeconds must be at least intervalSeconds",
            "graceSeconds %d must be at least intervalSeconds %d",
            ("self.graceSeconds", "self.intervalSeconds"),
        ),
    )

    interval_seconds: Annotated[int, within(10, 86_400)] = 60
    """Seconds between two heartbeats."""
    grace_seconds: Annotated[int, within(10, 604_800)] = 180
    """Seconds without a heartbeat after which the node counts as silent."""


class MeshNodeSpec(Model):
    """What is wanted of the node."""

    rules: ClassVar[tuple[Rule, ...]] = immutable("nodeId")

    node_id: NodeId
    """The participant's id, a UUIDv4 in lower case; immutable."""
    trust_domains: Annotated[list[ResourceName], list_of(32, kind="set")] | None = None
    """Names of the TrustDomains in which the node takes part."""
    endpoint: Annotated[str, matching("[a-z][a-z0-9+.-]*://\\S+", 2048)] | None = None
    """Where the node can be reached, as a URI; information for people and tools."""
    connections: Annotated[list[Connection], list_of(64, kind="map", keys=("node",))] | None = None
    """Connections to other nodes."""
    heartbeat: Heartbeat = Field(
        default_factory=Heartbeat, json_schema_extra={"default": {"intervalSeconds": 60, "graceSeconds": 180}}
    )
    """How often the node proves that it lives."""
    suspended: bool | None = None
    """The node takes no part in scheduling and sync; never changes an electorate."""
    privileges: Annotated[list[Privilege], list_of(4, kind="set")] | None = None
    """Narrows what the operator lets the node's own identity do; never voids a signed vote. Absent: as its role."""


class NodeDomain(Model):
    """The node's place in one domain."""

    name: ResourceName
    """Name of the TrustDomain."""
    role: Role
    """Role of the node by the accepted revision."""


class MeshNodeStatus(Status):
    """What is known about the node; changes only together with a condition."""

    domains: Annotated[list[NodeDomain], list_of(32, kind="map", keys=("name",))] | None = None
    """The domains whose accepted revision lists the node."""


class MeshNode(Resource):
    """A participant of the mesh: its liveness and its proof of possession of a Machine key."""

    plural: ClassVar[str] = "meshnodes"
    short_name: ClassVar[str] = "mn"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Node ID", ".spec.nodeId", priority=1),
        condition_column("IdentityVerified", name="Verified"),
        condition_column("Heartbeating"),
        READY,
        REASON,
        AGE,
    )
    conditions: ClassVar[dict[str, str]] = {
        "IdentityVerified": "a heartbeat was signed by a Machine key that the accepted revision gives to this node",
        "Heartbeating": "the newest heartbeat of each domain is not older than graceSeconds",
        "Narrowed": "spec.privileges leaves out privileges of the node's role; its own identity may do less",
        "Ready": "the node is verified and heartbeating in each of its domains",
    }
    notes: ClassVar[tuple[str, ...]] = (
        (
            "`privileges` holds the node's own ServiceAccount, by admission: without `VoteOnProposal` it writes neither"
            " Vote nor Delegation, without `ValidateAttestation` no other Attestation. Heartbeats are always admitted."
            " What a member signed counts, whoever applies it."
        ),
    )

    spec: MeshNodeSpec
    """What is wanted."""
    status: MeshNodeStatus | None = None
    """What was observed."""
