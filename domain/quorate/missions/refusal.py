"""Refusals of policies: one sentence with field, value and rule."""

from typing import Any


class PolicyRefusedError(ValueError):
    """A policy cannot be judged.

    Attributes:
        field: path in the object, `spec.…`.
        value: what stands there.
        rule: what it breaks.
    """

    def __init__(self, field: str, value: Any, rule: str) -> None:
        self.field = field
        self.value = value
        self.rule = rule
        super().__init__(f"{field} {value!r}: {rule}" if isinstance(value, str) else f"{field} {value}: {rule}")
