"""CuPy's memory pool under a mission: a limit that the pool keeps, and memory given back when the agent asks.

Imported only by who uses it. The pool holds what was freed for the next allocation; other processes see it as used.
"""

from __future__ import annotations

from typing import Callable

import cupy  # type: ignore[import-not-found, unused-ignore]

from quorate_mission._directives import Cannot, Directive
from quorate_mission._mission import Mission


class GovernedPool:
    """The current device's default memory pool.

    Args:
        mission: takes `FreeMemory` from now on.
        limit: bytes that the pool may hold; an allocation over it raises CuPy's OutOfMemoryError in the workload, which
            other pods then do not see. None: what the agent asks for.
        drop: called before memory is given back: forget caches and other arrays that can be made again.
    """

    def __init__(self, mission: Mission, *, limit: int | None = None, drop: Callable[[], object] | None = None) -> None:
        self._pool = cupy.get_default_memory_pool()
        self._pinned = cupy.get_default_pinned_memory_pool()
        self._drop = drop
        if limit is not None:
            self._pool.set_limit(size=limit)
        mission.on("FreeMemory", self.free)

    def free(self, directive: Directive) -> str:
        """Give back what is not used, and keep the limit that was asked for.

        Returns:
            How much was given back.

        Raises:
            Cannot: the arrays that are in use are more than the limit.
        """
        before = self._pool.total_bytes()
        if self._drop is not None:
            self._drop()
        self._pool.free_all_blocks()
        self._pinned.free_all_blocks()
        limit, used, held = directive.arguments.get("limit"), self._pool.used_bytes(), self._pool.total_bytes()
        if limit is not None and 0 < limit < used:
            raise Cannot(f"{used} bytes are in use, the limit is {limit}; {before - held} were given back")
        if limit is not None and limit > 0:
            self._pool.set_limit(size=limit)
        return f"{before - held} bytes given back, {held} held"
