"""Tell the GPU agent of this node how the workload does, and act on what it asks (docs/workload-sdk.md).

    mission = quorate_mission.connect()
    for step, batch in enumerate(batches):
        with mission.timed():
            loss = train(batch)
        mission.objective("loss", loss)
        mission.iteration(step + 1)
        mission.obey()

Every call touches memory only, raises nothing because of the agent, and does nothing where no agent is.
"""

from quorate_mission._directives import ACTIONS, Cannot, Directive
from quorate_mission._mission import Mission, connect

__all__ = ["ACTIONS", "Cannot", "Directive", "Mission", "connect"]
__version__ = "0.1.0"
