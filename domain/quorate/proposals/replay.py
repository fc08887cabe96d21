"""Recomputes the outcome of an evidence bundle with the code that decides live proposals."""

from collections.abc import Mapping
from typing import Any

from quorate.proposals.bundle import Bundle
from quorate.trust.domain import DomainHistory


def recompute(bundle: Bundle, histories: Mapping[str, DomainHistory]) -> Mapping[str, Any]:
    """The outcome document that the bundle's statements give."""
    raise NotImplementedError
