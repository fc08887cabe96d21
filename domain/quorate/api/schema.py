"""Field types, bounds and class-level declarations that the models of all kinds share (api.md, "Conventions").

A model says what the API server checks: types, patterns and bounds on each field, and the CEL rules of `rules` on the
object as a whole. What needs a signature or another object is checked by the operator.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

YEAR_SECONDS = 31_536_000
MAX_INTEGER = 2**53 - 1
CLAUSE_ID = "[0-9]+([.][0-9]+)*"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
DNS_NAME = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?"


@dataclass(frozen=True)
class Rule:
    """One CEL rule of `x-kubernetes-validations`.

    Attributes:
        rule: The expression; `self` is the object that the model describes.
        message: The sentence of a refusal: names field and rule.
        shown: The sentence with `%s` and `%d` where it names values; `message` is the fallback.
        values: CEL of the values, in order.
    """

    rule: str
    message: str
    shown: str | None = None
    values: tuple[str, ...] = ()

    def manifest(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`.

        The sentence is built by `format()`: the API server cannot bound the cost of joining strings.
        """
        entry = {"rule": self.rule, "message": self.message}
        if self.shown is None:
            return entry
        return {**entry, "messageExpression": f"'{self.shown}'.format([{', '.join(self.values)}])"}


def immutable(*fields: str, objects: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """Rules that forbid to set, change or remove each field after creation.

    They stand on the object that holds the fields, with `has()` on both sides: a transition rule on an optional field
    is not evaluated when the field comes or goes. The sentence names both values, but not those of `objects`.
    """
    return (*(_immutable(field, True) for field in fields), *(_immutable(field, False) for field in objects))


def _immutable(field: str, shown: bool) -> Rule:
    rule = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    message = f"{field} is immutable: delete the object and create it anew"
    if not shown:
        return Rule(rule, message)
    values = tuple(f"has({side}.{field}) ? dyn({side}.{field}) : dyn('nothing')" for side in ("self", "oldSelf"))
    return Rule(rule, message, f"{field} %s differs from %s: {field} is immutable", values)


def names_match(field: str, pattern: str, what: str) -> Rule:
    """A rule on the names of an optional map: structural schemas have no pattern for them."""
    return Rule(
        f"!has(self.{field}) || self.{field}.all(k, k.matches('^{pattern}$'))",
        f"each name in {field} must be {what}",
        f"{field} holds the name %s, which is not {what}",
        (f"self.{field}.filter(k, !k.matches('^{pattern}$'))[0]",),
    )


class Model(BaseModel):
    """An object of the API: camelCase names, unknown fields refused, descriptions from attribute docstrings."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True)
    rules: ClassVar[tuple[Rule, ...]] = ()


def text(maximum: int, *, minimum: int = 0) -> Any:
    """Metadata of a string of `minimum` to `maximum` characters."""
    return Field(min_length=minimum, max_length=maximum) if minimum else Field(max_length=maximum)


def matching(pattern: str, maximum: int) -> Any:
    """Metadata of a string of at most `maximum` characters that matches `pattern` as a whole."""
    return Field(pattern=f"^{pattern}$", max_length=maximum)


def within(minimum: int, maximum: int) -> Any:
    """Metadata of an integer in a closed interval."""
    return Field(ge=minimum, le=maximum)


def some(maximum: int, *, minimum: int = 0) -> Any:
    """Metadata of a list or map of `minimum` to `maximum` entries."""
    return Field(min_length=minimum, max_length=maximum) if minimum else Field(max_length=maximum)


def list_of(maximum: int, *, kind: str, keys: tuple[str, ...] = (), minimum: int = 0) -> Any:
    """Metadata of a list with a list type other than atomic: `set`, or `map` keyed by `keys`."""
    extra: dict[str, Any] = {"x-kubernetes-list-type": kind}
    if keys:
        extra["x-kubernetes-list-map-keys"] = list(keys)
    return Field(min_length=minimum or None, max_length=maximum, json_schema_extra=extra)


NodeId = Annotated[str, matching(UUID4, 36)]
Uuid = Annotated[str, matching(UUID, 36)]
Digest = Annotated[str, matching("sha256:[0-9a-f]{64}", 71)]
Signature = Annotated[str, matching("[A-Za-z0-9+/]{85}[AQgw]", 86)]
RawKey = Annotated[str, matching("[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]", 43)]
VerifierKey = Annotated[str, matching(r"[^\s+]+[+][0-9a-f]{8}[+][A-Za-z0-9+/]+=*", 512)]
MemberKey = Annotated[
    str, matching(r"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]|[^\s+]+[+][0-9a-f]{8}[+][A-Za-z0-9+/]+=*)", 512)
]
# No `format`: where one is given, the API server lets a list pass for a string. Days that a month has not are refused
# by whoever reads the time.
Time = Annotated[
    str,
    matching(
        "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
        20,
    ),
]
KeyName = Annotated[str, matching(r"\S([^\r\n]*\S)?", 63)]
MeshId = Annotated[str, matching("[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", 253)]
ResourceName = Annotated[str, matching(DNS_NAME, 253)]
Namespace = Annotated[str, matching("[a-z0-9]([-a-z0-9]*[a-z0-9])?", 63)]
ClauseId = Annotated[str, matching(CLAUSE_ID, 63)]
ContractVersion = Annotated[str, matching(r"v[0-9]{4}[.][0-9]{2}[.][0-9]{2}(-[1-9][0-9]{0,5})?", 18)]
BasisPoints = Annotated[int, within(0, 10_000)]
Count = Annotated[int, within(0, MAX_INTEGER)]
Revision = Annotated[int, within(1, MAX_INTEGER)]
Seconds = Annotated[int, within(0, YEAR_SECONDS)]
Period = Annotated[int, within(1, YEAR_SECONDS)]
Rationale = Annotated[str, text(4096)]
EntryId = Annotated[str, matching(UUID, 36)]
ContentName = Annotated[str, matching("quorate-[0-9a-f]{64}", 72)]
Number = Annotated[str, matching("-?[0-9]{1,38}", 39)]
_QUANTITY = "^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"


def _check_quantity(value: int | str) -> int | str:
    """What the schema says of the string: pydantic has no pattern for either of two types."""
    if isinstance(value, str) and (len(value) > 32 or re.fullmatch(_QUANTITY, value) is None):
        raise ValueError(f"must match {_QUANTITY!r}, with at most 32 characters")
    return value


Quantity = Annotated[
    int | str,
    AfterValidator(_check_quantity),
    Field(
        json_schema_extra={
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _QUANTITY,
            "maxLength": 32,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
Labels = Annotated[dict[str, Annotated[str, text(63)]], some(64)]
Anything = Annotated[Any, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "nullable": True})]


class ProposalType(StrEnum):
    """How a proposal is decided (governance.md)."""

    STANDARD = "Standard"
    EXPEDITED = "Expedited"
    CONSTITUTIONAL = "Constitutional"
    EMERGENCY = "Emergency"
    OPTIMISTIC = "Optimistic"


class Privilege(StrEnum):
    """What a role allows (trust.md, "Roles")."""

    PROPOSE_POLICY = "ProposePolicy"
    VALIDATE_ATTESTATION = "ValidateAttestation"
    VOTE_ON_PROPOSAL = "VoteOnProposal"
    OVERRIDE_POLICY = "OverridePolicy"


class Role(StrEnum):
    """What a member is (trust.md, "Roles")."""

    GOVERNANCE_HUB = "GovernanceHub"
    COMPLIANCE_WITNESS = "ComplianceWitness"
    TRUST_FORK = "TrustFork"
