"""Fits a line by gradient descent, under the agent: progress, checkpoints, fewer examples in a step when asked.

python train.py [STEPS] [CHECKPOINT]
"""

import json
import random
import sys
from pathlib import Path

import quorate_mission


def main(steps: int, checkpoint: Path) -> int:
    """Train; the exit code is 0 also when the agent asked to end."""
    seed, batch = 7, 64
    state = {"step": 0, "slope": 0.0, "offset": 0.0}
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
    random.seed(seed + state["step"])

    def save(directive: quorate_mission.Directive) -> str:
        fresh = checkpoint.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(checkpoint)
        return f"step {state['step']}"

    def reduce(directive: quorate_mission.Directive) -> str:
        nonlocal batch
        if batch == 1:
            raise quorate_mission.Cannot("a step has one example already")
        batch //= 2
        return f"{batch} examples in a step"

    mission = quorate_mission.connect()
    mission.on("Checkpoint", save)
    mission.on("CheckpointAndAbort", save)
    mission.on("ReduceBatch", reduce)
    mission.facts(seed=seed, steps=steps, begun=state["step"])

    while state["step"] < steps and not mission.aborting:
        with mission.timed():
            loss = descend(state, batch)
        state["step"] += 1
        mission.iteration(state["step"])
        mission.objective("loss", loss)
        mission.obey()

    if mission.aborting:
        print(f"ended at step {state['step']}, as asked")
    else:
        mission.result(f"{state['slope']:.6f} {state['offset']:.6f}")
        print(f"slope {state['slope']:.2f}, offset {state['offset']:.2f}, loss {loss:.4f}")
    return 0


def descend(state: dict, batch: int) -> float:
    """One step towards y = 3x + 1; the mean squared error of its examples."""
    error = slope = offset = 0.0
    for _ in range(batch):
        x = random.uniform(-1, 1)
        miss = state["slope"] * x + state["offset"] - (3 * x + 1)
        error += miss * miss / batch
        slope += 2 * miss * x / batch
        offset += 2 * miss / batch
    state["slope"] -= 0.1 * slope
    state["offset"] -= 0.1 * offset
    return error


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(int(arguments[0]) if arguments else 2000, Path(arguments[1] if arguments[1:] else "train.json")))
