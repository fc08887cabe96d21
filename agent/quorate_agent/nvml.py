"""The NVIDIA driver's management library through pynvml, imported when a backend is made (extra `agent`).

Every error of the library becomes a reading: not supported, no permission, lost, timed out. Nothing is cached but the
handles and what this process itself has set; the driver's own traps are in /docs/agent.md, "NVML".
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from quorate.missions.samples import Missing, Reading
from quorate_agent.ports import Condition, Gpu, Listed, Load, PowerState

_T = TypeVar("_T")
_PROHIBITED = 2
_SM_UTIL = 2
"""GPM metric: share of SMs busy, averaged between two samples."""


class NvmlBackend:
    """`GpuBackend` over libnvidia-ml.

    Raises:
        ImportError: pynvml is not installed.
    """

    name = "nvml"

    def __init__(self) -> None:
        import pynvml  # noqa: PLC0415 - only where there is a driver

        self._nvml: Any = pynvml
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        self._events: dict[str, Any] = {}
        self._samples: dict[str, Any] = {}
        self._no_gpm: set[str] = set()
        self._clocks: dict[str, int] = {}
        self._modes: dict[str, int] = {}
        self._missing = _reasons(pynvml)

    def devices(self) -> tuple[Gpu, ...] | Missing:
        """Initialises the library again where the driver went away."""
        with self._lock:
            found = self._ask(self._scan)
            if isinstance(found, Missing):
                self._forget()
            return found

    def _scan(self) -> tuple[Gpu, ...]:
        nvml = self._nvml
        nvml.nvmlInit()
        gpus = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, index)
            uuid = handle if isinstance(handle, Missing) else self._ask(nvml.nvmlDeviceGetUUID, handle)
            if isinstance(uuid, Missing):
                continue  # it fell off the bus: without a handle it has no name
            self._handles[uuid] = handle
            model = self._ask(nvml.nvmlDeviceGetName, handle)
            total = self._ask(lambda handle=handle: int(nvml.nvmlDeviceGetMemoryInfo(handle).total))
            mig = self._ask(lambda handle=handle: nvml.nvmlDeviceGetMigMode(handle)[0] == 1)
            gpus.append(Gpu(uuid, index, "" if isinstance(model, Missing) else model, total, mig is True))
        return tuple(gpus)

    def memory(self, gpu: str) -> Reading:
        """In use, without what the driver reserves where it says how much that is."""
        return self._of(gpu, self._used)

    def _used(self, handle: Any) -> int:
        nvml = self._nvml
        try:
            return int(nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2).used)
        except nvml.NVMLError as error:
            if self._missing.get(error.value) is not Missing.UNSUPPORTED:
                raise
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)

    def processes(self, gpu: str) -> tuple[Listed, ...] | Missing:
        """Compute and MPS clients; graphics processes take milliseconds to list and are left out.

        The functions with a version are called: the others raise what is no NVMLError with an older driver.
        """
        nvml = self._nvml
        rows = self._of(gpu, nvml.nvmlDeviceGetComputeRunningProcesses_v3)
        if isinstance(rows, Missing):
            return rows
        clients = self._of(gpu, nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3)
        found: dict[int, Reading] = {}
        for row in (*rows, *(() if isinstance(clients, Missing) else clients)):
            used: Reading = Missing.UNSUPPORTED if row.usedGpuMemory is None else int(row.usedGpuMemory)
            found[row.pid] = _sum(found.get(row.pid, 0), used)
        return tuple(Listed(pid, used) for pid, used in found.items())

    def utilization(self, gpu: str) -> Load:
        """SM_UTIL between this call and the last where the device has GPM (Hopper and later), else the duty cycle."""
        if gpu not in self._no_gpm:
            found = self._of(gpu, lambda handle: self._sm_util(gpu, handle))
            if found is not Missing.UNSUPPORTED:
                return Load(found, "SM_UTIL")
            self._no_gpm.add(gpu)
        value = self._of(gpu, lambda handle: int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) * 100)
        return Load(min(value, 10_000) if isinstance(value, int) else value)

    def _sm_util(self, gpu: str, handle: Any) -> Reading:
        nvml = self._nvml
        if gpu not in self._samples:
            if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                return Missing.UNSUPPORTED
            before = nvml.nvmlGpmSampleAlloc()
            self._samples[gpu] = before
            nvml.nvmlGpmSampleGet(handle, before)
            return Missing.TIMEOUT  # the first interval has not passed
        sample = nvml.nvmlGpmSampleAlloc()
        nvml.nvmlGpmSampleGet(handle, sample)
        ask = nvml.c_nvmlGpmMetricsGet_t()
        ask.version, ask.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, 1
        ask.sample1, ask.sample2 = self._samples[gpu], sample
        ask.metrics[0].metricId = _SM_UTIL
        nvml.nvmlGpmMetricsGet(ask)
        nvml.nvmlGpmSampleFree(self._samples[gpu])
        self._samples[gpu] = sample
        value = ask.metrics[0].value
        if ask.metrics[0].nvmlReturn != 0 or not 0 <= value <= 1_000:
            return Missing.TIMEOUT
        return min(10_000, int(value * 100))

    def condition(self, gpu: str) -> Condition:
        """Each reading by itself: what one device lacks says nothing about the others."""
        nvml = self._nvml
        slow = (
            nvml.nvmlClocksEventReasonHwSlowdown | nvml.nvmlClocksEventReasonSwThermalSlowdown
            | nvml.nvmlClocksEventReasonHwThermalSlowdown | nvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
        )  # fmt: skip
        rows = self._of(gpu, nvml.nvmlDeviceGetRemappedRows)
        return Condition(
            celsius=self._of(gpu, lambda handle: int(nvml.nvmlDeviceGetTemperature(handle, 0))),
            slowdown=self._of(gpu, lambda handle: int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle) & slow != 0)),
            uncorrectable=self._of(gpu, lambda handle: int(nvml.nvmlDeviceGetTotalEccErrors(handle, 1, 0))),
            remap_pending=rows if isinstance(rows, Missing) else int(rows[2] != 0),
            remap_failed=rows if isinstance(rows, Missing) else int(rows[3] != 0),
            recovery=self._of(gpu, self._recovery),
        )

    def _recovery(self, handle: Any) -> int:
        nvml = self._nvml
        value = nvml.nvmlDeviceGetFieldValues(handle, [nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])[0]
        if value.nvmlReturn != 0:
            raise nvml.NVMLError(value.nvmlReturn)
        return int(value.value.uiVal)

    def power(self, gpu: str) -> PowerState:
        """The clock is what this process locked, else the device's highest: the library has no getter for it."""
        nvml = self._nvml
        return PowerState(
            self._of(gpu, lambda handle: nvml.nvmlDeviceGetPowerManagementLimit(handle) // 1_000),
            self._of(gpu, lambda handle: self._clocks.get(gpu) or int(nvml.nvmlDeviceGetMaxClockInfo(handle, 1))),
            self._of(gpu, lambda handle: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) // 1_000),
        )

    def wait(self, gpu: str, seconds: int) -> tuple[int, ...] | Missing:
        """Blocks in the library, without the interpreter's lock."""
        found = self._of(gpu, lambda handle: self._wait(gpu, handle, seconds))
        return () if found is Missing.TIMEOUT else found

    def _wait(self, gpu: str, handle: Any, seconds: int) -> tuple[int, ...]:
        nvml = self._nvml
        if gpu not in self._events:
            mask = nvml.nvmlDeviceGetSupportedEventTypes(handle) & nvml.nvmlEventTypeXidCriticalError
            if not mask:
                raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, mask, events)
            self._events[gpu] = events
        return (int(nvml.nvmlEventSetWait(self._events[gpu], seconds * 1_000).eventData),)

    def limit_power(self, gpu: str, watts: int) -> Missing | None:
        """The driver forgets it when it is unloaded."""
        return self._set(gpu, lambda handle: self._nvml.nvmlDeviceSetPowerManagementLimit(handle, watts * 1_000))

    def limit_clock(self, gpu: str, megahertz: int) -> Missing | None:
        """Locks the SM clock between its lowest and `megahertz`."""
        nvml = self._nvml
        if megahertz:
            failed = self._set(gpu, lambda handle: nvml.nvmlDeviceSetGpuLockedClocks(handle, 0, megahertz))
        else:
            failed = self._set(gpu, nvml.nvmlDeviceResetGpuLockedClocks)
        if failed is None:
            self._clocks[gpu] = megahertz
        return failed

    def allow_compute(self, gpu: str, *, allowed: bool) -> Missing | None:
        """Compute mode PROHIBITED, and back to what it was before."""
        nvml = self._nvml
        found = self._of(gpu, lambda handle: int(nvml.nvmlDeviceGetComputeMode(handle)))
        if isinstance(found, Missing):
            return found
        mode = self._modes.get(gpu, 0) if allowed else _PROHIBITED
        failed = self._set(gpu, lambda handle: nvml.nvmlDeviceSetComputeMode(handle, mode))
        if failed is None and allowed:
            self._modes.pop(gpu, None)
        elif failed is None and found != _PROHIBITED:
            self._modes[gpu] = found
        return failed

    def _set(self, gpu: str, call: Callable[[Any], object]) -> Missing | None:
        found = self._of(gpu, call)
        return found if isinstance(found, Missing) else None

    def _of(self, gpu: str, call: Callable[[Any], _T]) -> _T | Missing:
        handle = self._handles.get(gpu)
        return Missing.LOST if handle is None else self._ask(call, handle)

    def _ask(self, call: Callable[..., _T], *given: Any) -> _T | Missing:
        try:
            return call(*given)
        except self._nvml.NVMLError as error:
            if error.value == self._nvml.NVML_ERROR_UNINITIALIZED:
                self._forget()
            return self._missing.get(error.value, Missing.LOST)

    def _forget(self) -> None:
        """The driver is gone, and with it every handle and setting."""
        for known in (self._handles, self._events, self._samples, self._clocks):
            known.clear()


def _reasons(nvml: Any) -> dict[int, Missing]:
    """What an error means for a reading; any other is taken for a lost device."""
    unsupported = (
        nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        nvml.NVML_ERROR_NO_DATA, nvml.NVML_ERROR_INVALID_ARGUMENT,
    )  # fmt: skip
    return {
        **dict.fromkeys(unsupported, Missing.UNSUPPORTED),
        nvml.NVML_ERROR_NO_PERMISSION: Missing.NO_PERMISSION,
        nvml.NVML_ERROR_TIMEOUT: Missing.TIMEOUT,
        nvml.NVML_ERROR_IN_USE: Missing.TIMEOUT,
    }


def _sum(one: Reading, other: Reading) -> Reading:
    """With MIG a process has a row for each instance; one row without a number makes the sum unknown."""
    return one + other if isinstance(one, int) and isinstance(other, int) else Missing.UNSUPPORTED
