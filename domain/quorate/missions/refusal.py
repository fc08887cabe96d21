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
        shown = repr(str(value)) if isinstance(value, str) else value
        super().__init__(f"{field} {shown}: {rule}")
