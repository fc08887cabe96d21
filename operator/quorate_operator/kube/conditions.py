"""Statuses in the terms of kstatus: what every kind's status has in common, and what an error looks like."""

from collections.abc import Iterable, Mapping
from typing import Any

from quorate.api.conditions import ConditionType, Observation, merge_conditions, observe
from quorate_operator.errors import OperatorError, Stalled
from quorate_operator.kube.resources import Obj

_PROGRESS = (ConditionType.RECONCILING, ConditionType.STALLED)


def status_with(
    obj: Obj,
    fields: Mapping[str, Any],
    observations: Iterable[Observation],
    *,
    now: int,
    remove: Iterable[str] = (),
) -> dict[str, Any]:
    """The complete wanted status: the current one, `fields` over it (None removes), conditions, observedGeneration.

    Reconciling and Stalled are removed unless observed anew, as kstatus expects of an object that is current.
    """
    current = obj.get("status") or {}
    seen = tuple(observations)
    generation = obj["metadata"].get("generation", 0)
    gone = {*remove, *_PROGRESS} - {item.type for item in seen}
    status = {**current, **fields, "observedGeneration": generation}
    status["conditions"] = merge_conditions(
        current.get("conditions"), seen, generation=generation, now=now, remove=gone
    )
    return {name: value for name, value in status.items() if value is not None}


def failure_status(obj: Obj, error: OperatorError, now: int) -> dict[str, Any]:
    """The status after an error: Ready False, and Stalled or Reconciling True with the error's reason."""
    progress = ConditionType.STALLED if isinstance(error, Stalled) else ConditionType.RECONCILING
    observations = [
        observe(kind, kind == progress, error.reason, error.message) for kind in (ConditionType.READY, progress)
    ]
    return status_with(obj, {}, observations, now=now)
