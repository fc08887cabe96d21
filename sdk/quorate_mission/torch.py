"""PyTorch under a mission: memory given back and limited, checkpoints that are whole or not there, facts of a run.

Imported only by who uses it.
"""

from __future__ import annotations

import gc
import os
from typing import Any, Callable

import torch  # type: ignore[import-not-found, unused-ignore]

from quorate_mission._directives import Cannot, Directive
from quorate_mission._mission import Mission


def govern(
    mission: Mission, *, limit: int | None = None, device: int = 0, drop: Callable[[], object] | None = None
) -> None:
    """Keep a limit in bytes on a CUDA device, and take `FreeMemory`.

    The limit is PyTorch's: an allocation over it raises OutOfMemoryError in the workload, which other pods then do not
    see. What CUDA itself and other libraries allocate is not counted.

    Args:
        mission: takes `FreeMemory` from now on.
        limit: bytes that PyTorch may hold on the device; None: no limit of its own.
        device: index of the device.
        drop: called before memory is given back: forget what can be made again.
    """
    if limit is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)

    def free(directive: Directive) -> str:
        before = torch.cuda.memory_reserved(device)
        if drop is not None:
            drop()
        gc.collect()
        torch.cuda.empty_cache()
        held, most = torch.cuda.memory_reserved(device), directive.arguments.get("limit")
        if most is not None and 0 < most < held:
            raise Cannot(f"{held} bytes are held, the limit is {most}; {before - held} were given back")
        return f"{before - held} bytes given back, {held} held"

    mission.on("FreeMemory", free)


def checkpoints(mission: Mission, path: str, state: Callable[[], Any], load: Callable[[Any], object]) -> None:
    """Take `Checkpoint`, `CheckpointAndAbort` and `RollBack`, with a file that is replaced as a whole.

    Args:
        mission: takes the three from now on.
        path: of the checkpoint, on a volume that outlives the pod.
        state: what to save: `{"model": model.state_dict(), …}`.
        load: takes what `state` gave, tensors on the CPU; only tensors and plain values are read back.
    """

    def save(_: Directive) -> str:
        fresh = f"{path}.{os.getpid()}"
        try:
            with open(fresh, "wb") as file:  # noqa: PTH123 - the path may be what torch.save takes, as it is
                torch.save(state(), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)  # noqa: PTH105
        except BaseException:
            if os.path.exists(fresh):  # noqa: PTH110
                os.unlink(fresh)  # noqa: PTH108
            raise
        return f"saved {path}"

    def restore(_: Directive) -> str:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise Cannot(f"{path}: there is no checkpoint") from None
        load(found)
        return f"restored {path}"

    mission.on("Checkpoint", save)
    mission.on("CheckpointAndAbort", save)
    mission.on("RollBack", restore)


def facts(mission: Mission) -> None:
    """Report what makes a run of PyTorch what it is: versions, seed, whether it is deterministic."""
    mission.facts(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        seed=torch.initial_seed(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )
