"""The base of every kind: identity, condition list and status, printer columns."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from quorate.api.schema import EntryId, Model, list_of, matching, text, within

GROUP = "quorate.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Column:
    """One printer column of `kubectl get`; priority 1 is shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


def condition_column(condition: str, *, field: str = "status", name: str = "", priority: int = 0) -> Column:
    """A column that shows a field of one condition."""
    path = f'.status.conditions[?(@.type=="{condition}")].{field}'
    return Column(name or condition, path, priority=priority)


READY = condition_column("Ready")
REASON = condition_column("Ready", field="reason", name="Reason")
AGE = Column("Age", ".metadata.creationTimestamp", "date")


class Condition(Model):
    """One observation of an object, as metav1.Condition."""

    type: Annotated[str, matching("[A-Za-z]([A-Za-z0-9]*)", 63)]
    """What is observed."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """True, False or Unknown."""
    observed_generation: Annotated[int, within(0, 2**53 - 1)] | None = None
    """The metadata.generation that the observation is about."""
    last_transition_time: Annotated[str, text(20), Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    reason: Annotated[str, matching("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", 253)]
    """Why, as one stable word for programs."""
    message: Annotated[str, text(8192)]
    """Why, as a sentence for people: names field, value and rule."""


class Status(Model):
    """What the operator observed and decided; nobody else writes it."""

    observed_generation: Annotated[int, within(-1, 2**53 - 1)] | None = None
    """The metadata.generation that this status is about; -1 until the operator has seen the object."""
    conditions: Annotated[list[Condition], list_of(32, kind="map", keys=("type",))] | None = None
    """What is observed, one entry per type; Ready is always among them."""
    last_entry: EntryId | None = None
    """The last log entry whose effect was applied to this object."""


class Resource(Model):
    """A kind: its names, printer columns, and the fields `spec` and `status` that each subclass declares."""

    plural: ClassVar[str]
    short_name: ClassVar[str]
    namespaced: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]]
    selectable: ClassVar[tuple[str, ...]] = ()
    conditions: ClassVar[dict[str, str]]
    """Type of each condition, and what True means."""
    notes: ClassVar[tuple[str, ...]] = ()
    """What a reader must know before applying one; for the reference page."""

    api_version: Annotated[str, Field(pattern=f"^{API_VERSION}$", max_length=63)] = API_VERSION
    """The API group and version."""
    kind: Annotated[str, text(63)]
    """The kind of the object."""
    metadata: dict[str, Any]
    """Name, labels and annotations as of every Kubernetes object."""
