"""The tests' own libnvidia-ml.so.1: compiled once, and its state as attributes that a test sets and reads."""

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "native/nvml.c"
PAGE = 4096


class ProcessRow(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint32), ("pad", ctypes.c_uint32), ("used", ctypes.c_uint64)]


_WORDS = (
    "utilization sm_util_bp gpm mig lost delay_ms may_set celsius", "reasons ecc",
    "remap_pending remap_failed recovery xid_count",
)  # fmt: skip


class DeviceState(ctypes.Structure):
    """`struct device` of nvml.c."""

    _fields_ = [
        ("uuid", ctypes.c_char * 96),
        ("name", ctypes.c_char * 96),
        *((name, ctypes.c_uint64) for name in ("total", "used", "reserved")),
        *((name, ctypes.c_uint32) for name in _WORDS[0].split()),
        *((name, ctypes.c_uint64) for name in _WORDS[1].split()),
        *((name, ctypes.c_uint32) for name in _WORDS[2].split()),
        ("xids", ctypes.c_uint32 * 16),
        *(
            (name, ctypes.c_uint32)
            for name in ("watts_mw", "default_watts_mw", "clock", "max_clock", "compute_mode", "list_error")
        ),
        ("process_count", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("processes", ProcessRow * 64),
    ]


def library() -> Path:
    """The compiled library; skips where no compiler is."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the driver library of the tests cannot be built")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"quorate-native-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / "libnvidia-ml.so.1"
    if not made.exists():
        part = folder / f"part-{os.getpid()}"
        flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"]
        subprocess.run([compiler, *flags, "-o", part, SOURCE], check=True)
        part.replace(made)
    return made


class Driver:
    """The devices of a driver, shared with every process that has its file."""

    def __init__(self, file: Path, uuids: Sequence[str]) -> None:
        self.file = file
        file.write_bytes(bytes(PAGE * len(uuids)))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 0)
        self.devices = [DeviceState.from_buffer(self._map, PAGE * index) for index in range(len(uuids))]
        for device, uuid in zip(self.devices, uuids, strict=True):
            device.uuid, device.name = uuid.encode(), b"Test GPU"
            device.total, device.reserved, device.max_clock = 80 * 2**30, 2**28, 1_980
            device.watts_mw = device.default_watts_mw = 700_000

    def list(self, index: int, rows: Mapping[int, int]) -> None:
        """The process list of a device, and with it its memory."""
        device = self.devices[index]
        for place, (pid, used) in enumerate(rows.items()):
            device.processes[place].pid, device.processes[place].used = pid, used
        device.process_count = len(rows)
        device.used = sum(rows.values())

    def xid(self, index: int, code: int) -> None:
        """An error is reported."""
        device = self.devices[index]
        device.xids[device.xid_count % 16] = code
        device.xid_count += 1
