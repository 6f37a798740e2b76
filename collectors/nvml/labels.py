"""From a GPU's rows to a reading with dcgm-exporter's labels: the normaliser takes it as a page.

So units, entities, MIG instances, aliases and who runs on which GPU are worked out where they are
for scrapes. Only `collectors.nvml.collector` calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collectors.nvml.device import Round
from collectors.nvml.port import Gpu, GpuProcess, MigInstance, Row
from collectors.pod_resources import PodRef
from collectors.pods import Pods
from collectors.series import Reading, SeriesTable

_SERIES_MAX = 20_000
"""Series of one table: pods and processes come and go, and a new table begins beyond."""
_TENANCY = "DCGM_FI_DEV_FB_USED"
"""The figure that carries who has the GPU: both boards and instances have it."""
_PROCESS = "gpu_process_memory_bytes"
_Key = tuple[str, str, tuple[str, ...]]
"""Name, UUID, and the values of the labels that are added: how many there are tells which."""
_LAYOUTS_MAX = 400
"""Layouts that are remembered: some for each GPU, since rates fall together."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The series of one GPU's figures, as long as these are the same and so are its tenants."""

    numbers: list[int]
    places: list[int]
    """Which row each series takes its value from."""


_Shape = tuple[str, tuple[tuple[str, int | None], ...], tuple[tuple[PodRef, ...] | None, ...]]
"""UUID, the rows' names, the tenants of the board and of each instance."""


class GpuReadings:
    """The series of one node's GPUs, numbered once."""

    def __init__(self, *, node: str, pods: Pods) -> None:
        self._node = node
        self._pods = pods
        self._table = SeriesTable()
        self._named: tuple[str, tuple[Gpu, ...]] = ("", ())
        """What the labels of the table were made from."""
        self._numbers: dict[_Key, int] = {}
        self._layouts: dict[_Shape, _Layout] = {}
        self._owners: dict[str, tuple[tuple[GpuProcess, ...], list[dict[str, str]]]] = {}
        """Labels of a GPU's processes, as long as nobody has looked for processes again."""

    def reading(self, rounds: Sequence[tuple[Gpu, Round]], driver: str) -> Reading:
        """The figures of one moment."""
        named = (driver, tuple(gpu for gpu, _ in rounds))
        if len(self._table) > _SERIES_MAX or named != self._named:
            self._table, self._numbers, self._named = SeriesTable(), {}, named
            self._layouts = {}
        numbers: list[int] = []
        values: list[float] = []
        for gpu, seen in rounds:
            layout = self._layout(gpu, seen.rows, driver)
            numbers += layout.numbers
            values += [seen.rows[place].value for place in layout.places]
            held = {"gpu": str(gpu.index), "UUID": gpu.uuid}
            owners = self._owners_of(gpu.uuid, seen.processes)
            for process, owner in zip(seen.processes, owners, strict=True):
                numbers.append(self._number(_PROCESS, held, owner))
                values.append(process.bytes)
        return Reading(self._table, np.array(numbers, np.int32), np.array(values, np.float64))

    def _layout(self, gpu: Gpu, rows: Sequence[Row], driver: str) -> _Layout:
        """Which series the rows of a GPU are."""
        uuids = {None: gpu.uuid} | {i.number: i.uuid for i in gpu.instances}
        tenants = {number: self._pods.holders(uuid) for number, uuid in uuids.items()}
        shape = (gpu.uuid, tuple((r.name, r.instance) for r in rows), tuple(tenants.values()))
        known = self._layouts.get(shape)
        if known is not None:
            return known
        board = self._labels(gpu, driver)
        parts: dict[int | None, dict[str, str]] = {None: {}}
        parts |= {i.number: _instance_labels(i) for i in gpu.instances}
        made = _Layout([], [])
        for place, row in enumerate(rows):
            part = parts.get(row.instance)
            if part is None:  # an instance that was made since the inventory
                continue
            holders = _tenants(tenants[row.instance]) if row.name == _TENANCY else [{}]
            for holder in holders:
                made.numbers.append(self._number(row.name, board, part | holder))
                made.places.append(place)
        if len(self._layouts) >= _LAYOUTS_MAX:
            self._layouts = {}
        self._layouts[shape] = made
        return made

    def _number(self, name: str, labels: dict[str, str], more: dict[str, str]) -> int:
        """The number of a series; it is made where it is new."""
        # Who it is about is in the UUID and in what is added to the board's own labels.
        key = (name, labels["UUID"], tuple(more.values()))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._table.add(name, labels | more)
        return number

    def _owners_of(self, uuid: str, processes: tuple[GpuProcess, ...]) -> list[dict[str, str]]:
        known = self._owners.get(uuid)
        if known is None or known[0] is not processes:
            named = [{"pid": str(p.pid), "pod": self._pods.pod_of(p.pid)} for p in processes]
            known = self._owners[uuid] = (processes, named)
        return known[1]

    def _labels(self, gpu: Gpu, driver: str) -> dict[str, str]:
        return {
            "gpu": str(gpu.index),
            "UUID": gpu.uuid,
            "pci_bus_id": gpu.pci,
            "modelName": gpu.model,
            "Hostname": self._node,
            "DCGM_FI_DRIVER_VERSION": driver,
            "DCGM_FI_DEV_SERIAL": gpu.serial,
        }


def _tenants(holders: tuple[PodRef, ...] | None) -> list[dict[str, str]]:
    """Labels of each who was given it; an empty pod says that nobody was, no label that nobody
    tells."""
    if holders is None:
        return [{}]
    named = [{"namespace": h.namespace, "pod": h.pod, "container": h.container} for h in holders]
    return named or [{"namespace": "", "pod": "", "container": ""}]


def _instance_labels(instance: MigInstance) -> dict[str, str]:
    return {"GPU_I_PROFILE": instance.profile, "GPU_I_ID": str(instance.number)}
