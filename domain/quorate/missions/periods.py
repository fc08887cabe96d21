"""How often the agent samples what each rule reads, and when a reading is stale (docs/missions.md, "Samples").

The one table: windows are refused and divided by it.
"""

from collections.abc import Mapping
from typing import Final

from quorate.api.mission_rules import RuleName
from quorate.missions.series import SECOND

PERIODS: Final[Mapping[RuleName, int]] = {
    RuleName.MEMORY: SECOND // 4,
    RuleName.HOST_MEMORY: SECOND,
    RuleName.UTILIZATION: SECOND,
    RuleName.LATENCY: SECOND,
    RuleName.CONVERGENCE: SECOND,
    RuleName.ENTROPY: SECOND,
    RuleName.UPTIME: SECOND,
    RuleName.PRIVACY_BUDGET: SECOND,
    RuleName.HEALTH: 10 * SECOND,
    RuleName.IDLE: SECOND,
    RuleName.POWER: 10 * SECOND,
}
"""Microseconds between samples: duty cycle and GPM are read once a second, and workloads report as often."""
STALE: Final[Mapping[RuleName, int]] = {
    RuleName.MEMORY: 3 * SECOND,
    RuleName.HOST_MEMORY: 5 * SECOND,
    RuleName.UTILIZATION: 5 * SECOND,
    RuleName.UPTIME: 5 * SECOND,
    RuleName.HEALTH: 60 * SECOND,
    RuleName.IDLE: 5 * SECOND,
}
"""Age in microseconds; what a workload reports about its progress is stale after the rule's window."""
