"""NVML through the vendor's binding: the one module that loads the driver's library.

Made by `fleetmend agent` and by benchmarks/agent.py, used by `collectors.nvml.collector` alone. The
binding's errors become NvmlError here. Nothing judges, nothing waits: whoever calls has a deadline.
"""

from collections.abc import Sequence
from contextlib import suppress
from ctypes import CDLL, RTLD_GLOBAL
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pynvml

from collectors.nvml.calls import CALLS, MIB, TEXT_MAX, asked, text_of
from collectors.nvml.gpm import GpmSamples
from collectors.nvml.port import (
    Answer,
    DriverXid,
    Gpu,
    MigInstance,
    NvmlError,
    NvmlFailure,
    Row,
)

_ATTACH_NO_GPUS = 1
"""NVML_INIT_FLAG_NO_GPUS: a node whose GPU is lost must still be told of."""

_GPM = {"gpm": False, "gpm_dear": True}
"""Calls that lie between two samples, and whether they are about the dear metrics."""


@dataclass(slots=True)
class _Handles:
    """What the library gave for one GPU."""

    board: Any
    instances: dict[int, Any] = field(default_factory=dict)
    """MIG instances by number."""
    gpm: dict[int | None, GpmSamples] = field(default_factory=dict)


class NvmlLibrary:
    """Implements `collectors.nvml.port.GpuReader` on libnvidia-ml.so.1."""

    def __init__(self, path: str = "") -> None:
        """`path`: a library of this file; empty: the driver's own, wherever the loader finds it."""
        self._path = path
        self._loaded: CDLL | None = None
        self._handles: dict[str, _Handles] = {}
        self._events: Any = None
        self._registered: set[str] = set()
        """UUIDs of the GPUs whose Xids come through `_events`."""

    def start(self) -> str:
        """Load library and driver. Raises NvmlError with the reason why there is none."""
        if self._path and self._loaded is None:
            try:
                # The binding asks for `libnvidia-ml.so.1`: what is loaded under that name is it.
                self._loaded = CDLL(self._path, mode=RTLD_GLOBAL)
            except OSError as error:
                raise NvmlError(
                    NvmlFailure.LIBRARY_ABSENT, call="load", text=str(error)[:TEXT_MAX]
                ) from error
        asked("init", lambda: pynvml.nvmlInitWithFlags(_ATTACH_NO_GPUS))
        return text_of(asked("driver_version", pynvml.nvmlSystemGetDriverVersion))

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that answer to their names; one that does not is not among them."""
        count = int(asked("count", pynvml.nvmlDeviceGetCount))
        found = []
        lost: NvmlError | None = None
        for index in range(count):
            try:
                found.append(self._gpu(index))
            except NvmlError as error:
                lost = error
        if count and not found and lost is not None:
            raise lost
        self._subscribe(found)
        return tuple(found)

    def _gpu(self, index: int) -> Gpu:
        board = asked("handle", lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
        uuid = text_of(asked("uuid", lambda: pynvml.nvmlDeviceGetUUID(board)))
        instances = self._instances(board)
        known = self._handles.setdefault(uuid, _Handles(board))
        known.board, known.instances = board, {i.number: handle for i, handle in instances}
        pci = asked("pci", lambda: pynvml.nvmlDeviceGetPciInfo(board))
        try:
            serial = text_of(asked("serial", lambda: pynvml.nvmlDeviceGetSerial(board)))
        except NvmlError:
            serial = ""
        return Gpu(
            index=index,
            uuid=uuid,
            pci=text_of(pci.busId),
            model=text_of(asked("name", lambda: pynvml.nvmlDeviceGetName(board))),
            serial=serial,
            instances=tuple(instance for instance, _ in instances),
        )

    def _instances(self, board: Any) -> list[tuple[MigInstance, Any]]:
        """The MIG instances of a GPU; none where MIG is off or unknown."""
        try:
            mode, _ = asked("mig_mode", lambda: pynvml.nvmlDeviceGetMigMode(board))
            if not mode:
                return []
            most = asked("mig_count", lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(board))
        except NvmlError:
            return []
        found: dict[int, tuple[MigInstance, Any]] = {}
        for place in range(most):
            try:
                found.setdefault(*self._instance(board, place))
            except NvmlError:
                continue  # a place that nothing is in
        return list(found.values())

    def _instance(self, board: Any, place: int) -> tuple[int, tuple[MigInstance, Any]]:
        handle = asked(
            "mig_handle", lambda: pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, place)
        )
        number = int(asked("mig_id", lambda: pynvml.nvmlDeviceGetGpuInstanceId(handle)))
        uuid = text_of(asked("mig_uuid", lambda: pynvml.nvmlDeviceGetUUID(handle)))
        name = text_of(asked("mig_name", lambda: pynvml.nvmlDeviceGetName(handle)))
        profile = name.rpartition("MIG ")[2] if "MIG " in name else ""
        return number, (MigInstance(number, uuid, profile), handle)

    def call(self, gpu: Gpu, name: str) -> Answer:
        """One call for one GPU. Raises NvmlError."""
        handles = self._handles[gpu.uuid]
        if name in _GPM:
            return self._gpm(handles, dear=_GPM[name])
        if name == "memory":
            return _memory(handles)
        board = handles.board
        answer: Answer = asked(name, lambda: CALLS[name](board))
        return answer

    def _gpm(self, handles: _Handles, *, dear: bool) -> Answer:
        """What lies between two samples, for the board or each instance."""
        answers = []
        for instance in handles.instances or (None,):
            samples = handles.gpm.get(instance)
            if samples is None:
                samples = handles.gpm[instance] = GpmSamples(instance)
            if dear:
                answers.append(samples.since())
            elif instance is None:
                answers.append(samples.sample(partial(pynvml.nvmlGpmSampleGet, handles.board)))
            else:
                take = partial(pynvml.nvmlGpmMigSampleGet, handles.board, int(instance))
                answers.append(samples.sample(take))
        rows = tuple(row for answer in answers for row in answer.rows)
        return Answer(rows, failed={k: v for a in answers for k, v in a.failed.items()})

    def _subscribe(self, gpus: Sequence[Gpu]) -> None:
        """Ask for Xids of every GPU, and for nothing else: clock events come several times a
        second and would drown them."""
        present = {gpu.uuid for gpu in gpus}
        self._registered &= present  # one that was away has forgotten what it was asked for
        missing = sorted(present - self._registered)
        if not missing:
            return
        try:
            events = self._events or asked("event_set", pynvml.nvmlEventSetCreate)
        except NvmlError:
            return  # `wait_xid` says that there are none
        kind = pynvml.nvmlEventTypeXidCriticalError
        for uuid in missing:
            board = self._handles[uuid].board
            try:
                asked("register", partial(pynvml.nvmlDeviceRegisterEvents, board, kind, events))
            except NvmlError:
                continue  # it is asked again at the next inventory; the others can tell meanwhile
            self._registered.add(uuid)
        if self._registered:
            self._events = events
        elif self._events is None:
            with suppress(NvmlError):
                asked("events", partial(pynvml.nvmlEventSetFree, events))

    def wait_xid(self, timeout_s: float) -> DriverXid | None:
        """The next Xid, or None. Raises NvmlError where the driver has no events."""
        if self._events is None:
            raise NvmlError(NvmlFailure.NOT_SUPPORTED, call="events")
        try:
            told = asked(
                "events", lambda: pynvml.nvmlEventSetWait(self._events, round(timeout_s * 1000))
            )
        except NvmlError as error:
            if error.failure is NvmlFailure.TIMEOUT:
                return None
            raise
        if told.eventType != pynvml.nvmlEventTypeXidCriticalError:
            return None
        try:
            uuid = text_of(asked("uuid", lambda: pynvml.nvmlDeviceGetUUID(told.device)))
        except NvmlError:
            uuid = ""  # the GPU that tells of its own loss
        instance = None if told.gpuInstanceId == 0xFFFFFFFF else int(told.gpuInstanceId)
        return DriverXid(uuid, int(told.eventData), instance)

    def close(self) -> None:
        """Let go of the driver; the library stays loaded."""
        self._registered.clear()
        if self._events is not None:
            events, self._events = self._events, None
            asked("events", lambda: pynvml.nvmlEventSetFree(events))
        asked("shutdown", pynvml.nvmlShutdown)


def _memory(handles: _Handles) -> Answer:
    rows: list[Row] = []
    for instance, handle in handles.instances.items() or ((None, handles.board),):
        told = asked(
            "memory", partial(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
        )
        rows += (
            Row("DCGM_FI_DEV_FB_USED", told.used / MIB, instance),
            Row("DCGM_FI_DEV_FB_FREE", told.free / MIB, instance),
            Row("DCGM_FI_DEV_FB_RESERVED", told.reserved / MIB, instance),
            Row("DCGM_FI_DEV_FB_TOTAL", told.total / MIB, instance),
        )
    return Answer(tuple(rows))
