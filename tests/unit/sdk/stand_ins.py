"""Small CuPy and PyTorch with the calls that the helpers make, and a pool that behaves as theirs do."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 2**30


class Pool:
    """A pool that keeps what was freed until it is told to give it back."""

    def __init__(self) -> None:
        self.used = self.held = self.limit = 0

    def total_bytes(self) -> int:
        """What it holds."""
        return self.held

    def used_bytes(self) -> int:
        """What is in use."""
        return self.used

    def free_all_blocks(self) -> None:
        """Give back what is not."""
        self.held = self.used

    def set_limit(self, *, size: int) -> None:
        """The most that it may hold."""
        assert size > 0
        self.limit = size


def cupy_module() -> Any:
    """`cupy`."""
    module: Any = ModuleType("cupy")
    module.pool, module.pinned = Pool(), Pool()
    module.get_default_memory_pool = lambda: module.pool
    module.get_default_pinned_memory_pool = lambda: module.pinned
    return module


def torch_module() -> Any:
    """`torch`."""
    module: Any = ModuleType("torch")
    pool = module.pool = Pool()
    module.fraction = None

    def fraction(share: float, device: int) -> None:
        assert 0 <= share <= 1
        module.fraction = (share, device)

    def save(value: Any, file: Any) -> None:
        file.write(json.dumps(value).encode())

    def load(path: str, *, map_location: str, weights_only: bool) -> Any:
        assert weights_only and map_location == "cpu"
        return json.loads(Path(path).read_bytes())

    module.cuda = SimpleNamespace(
        memory_reserved=lambda _: pool.held,
        empty_cache=pool.free_all_blocks,
        get_device_properties=lambda _: SimpleNamespace(total_memory=80 * GIB),
        set_per_process_memory_fraction=fraction,
    )
    module.save, module.load = save, load
    module.__version__ = "2.9.0"
    module.version = SimpleNamespace(cuda="13.0")
    module.initial_seed = lambda: 7
    module.are_deterministic_algorithms_enabled = lambda: True
    return module
