"""Mission types: names with rules as data, in the form of a MissionPolicy's spec (founding document 002, section 4).

What a policy says itself replaces the type's field of the same name.
"""

from collections.abc import Mapping
from typing import Any, Final

TYPE_LABEL = "quorate.dev/mission-type"
"""Pods declare their type with this label."""

MISSION_TYPES: Final[Mapping[str, Mapping[str, Any]]] = {
    # A hard 5 ms, 99.9 % up: less work per request first, another node when it is down, an end when neither helps.
    "LowLatency": {
        "latency": {"targetMicroseconds": 5_000, "quantile": 9_900, "windowSeconds": 60},
        "uptime": {"minBasisPoints": 9_990, "windowSeconds": 86_400},
        "ladder": [
            {"action": "Warn", "afterSeconds": 0},
            {"action": "Recover", "afterSeconds": 0, "acknowledgeSeconds": 30},
            {"action": "CheckpointAndAbort", "afterSeconds": 90, "acknowledgeSeconds": 60},
        ],
    },
    # At most 82, within 24 hours, the same seed giving the same result; not there yet is no violation.
    "RecordSearch": {
        "convergence": {
            "metric": "record",
            "direction": "Minimize",
            "targetMillionths": 82_000_000,
            "minImprovementBasisPoints": 0,
            "windowSeconds": 86_400,
        },
        "runtimeLimitSeconds": 86_400,
        "reproducibility": {"runs": 2},
        "ladder": [
            {"action": "Warn", "afterSeconds": 0},
            {"action": "Checkpoint", "afterSeconds": 0, "acknowledgeSeconds": 60},
            {"action": "CheckpointAndAbort", "afterSeconds": 60, "acknowledgeSeconds": 300},
        ],
    },
    # Converged within three iterations with a smaller ensemble if need be; stop when the privacy budget is spent.
    "Ensemble": {
        "convergence": {
            "metric": "converged",
            "direction": "Maximize",
            "targetMillionths": 1_000_000,
            "maxIterations": 3,
            "minImprovementBasisPoints": 0,
            "windowSeconds": 3_600,
        },
        "privacyBudget": {"epsilonMillionths": 1_000_000},
        "ladder": [
            {"action": "Warn", "afterSeconds": 0},
            {"action": "Recover", "afterSeconds": 0, "acknowledgeSeconds": 30},
            {"action": "CheckpointAndAbort", "afterSeconds": 60, "acknowledgeSeconds": 60},
        ],
        "recovery": [{"rule": "convergence", "strategy": "ReduceComplexity"}],
    },
}
"""The built-in types."""
