"""The floor: the smallest Kopf operator there is. It writes one Ready condition and does nothing else.

Run by the benchmark beside ours, so that what the API server and Kopf cost is told apart from what we add: no audit,
no signature, no decision.
"""

from datetime import UTC, datetime
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """As our own operator: nothing posted, fixed definitions."""
    settings.posting.enabled = False
    settings.scanning.disabled = True


@kopf.on.event("quorate.dev", "v1alpha1", "dynamiccontracts")
@kopf.on.event("quorate.dev", "v1alpha1", "meshnodes")
async def ready(event: kopf.RawEvent, patch: kopf.Patch, body: kopf.Body, **_: Any) -> None:
    """Ready=True for what is new."""
    generation = body["metadata"]["generation"]
    if event["type"] == "DELETED" or body.get("status", {}).get("observedGeneration") == generation:
        return
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    patch.status["observedGeneration"] = generation
    patch.status["conditions"] = [condition]
