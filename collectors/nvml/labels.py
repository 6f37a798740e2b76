"""From a GPU's rows to a reading with dcgm-exporter's labels: the normaliser takes it as a page.

So units, entities, MIG instances, aliases and who runs on which GPU are worked out where they are
for scrapes. Only `collectors.nvml.collector` calls it.
"""

from collections.abc import Sequence

import numpy as np

from collectors.nvml.device import Round
from collectors.nvml.port import Gpu, GpuProcess, MigInstance
from collectors.pods import Pods
from collectors.series import Reading, SeriesTable

_SERIES_MAX = 20_000
"""Series of one table: pods and processes come and go, and a new table begins beyond."""
_TENANCY = "DCGM_FI_DEV_FB_USED"
"""The figure that carries who has the GPU: both boards and instances have it."""
_PROCESS = "gpu_process_memory_bytes"
_Key = tuple[str, str, tuple[str, ...]]
"""Name, UUID, and the values of the labels that are added: how many there are tells which."""


class GpuReadings:
    """The series of one node's GPUs, numbered once."""

    def __init__(self, *, node: str, pods: Pods) -> None:
        self._node = node
        self._pods = pods
        self._table = SeriesTable()
        self._named: tuple[str, tuple[Gpu, ...]] = ("", ())
        """What the labels of the table were made from."""
        self._numbers: dict[_Key, int] = {}
        self._owners: dict[str, tuple[tuple[GpuProcess, ...], list[dict[str, str]]]] = {}
        """Labels of a GPU's processes, as long as nobody has looked for processes again."""

    def reading(self, rounds: Sequence[tuple[Gpu, Round]], driver: str) -> Reading:
        """The figures of one moment."""
        named = (driver, tuple(gpu for gpu, _ in rounds))
        if len(self._table) > _SERIES_MAX or named != self._named:
            self._table, self._numbers, self._named = SeriesTable(), {}, named
        numbers: list[int] = []
        values: list[float] = []

        def add(name: str, labels: dict[str, str], more: dict[str, str], value: float) -> None:
            # Who it is about is in the UUID and in what is added to the board's own labels.
            key = (name, labels["UUID"], tuple(more.values()))
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = self._table.add(name, labels | more)
            numbers.append(number)
            values.append(value)

        for gpu, seen in rounds:
            board = self._labels(gpu, driver)
            parts: dict[int | None, dict[str, str]] = {None: {}}
            parts |= {i.number: _instance_labels(i) for i in gpu.instances}
            tenants: dict[int | None, list[dict[str, str]]] = {None: self._tenants(gpu.uuid)}
            tenants |= {i.number: self._tenants(i.uuid) for i in gpu.instances}
            for row in seen.rows:
                part = parts.get(row.instance)
                if part is None:  # an instance that was made since the inventory
                    continue
                holders = tenants[row.instance] if row.name == _TENANCY else [{}]
                for holder in holders:
                    add(row.name, board, part | holder if holder else part, row.value)
            held = {"gpu": board["gpu"], "UUID": gpu.uuid}
            owners = self._owners_of(gpu.uuid, seen.processes)
            for process, owner in zip(seen.processes, owners, strict=True):
                add(_PROCESS, held, owner, process.bytes)
        return Reading(self._table, np.array(numbers, np.int32), np.array(values, np.float64))

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

    def _tenants(self, uuid: str) -> list[dict[str, str]]:
        """Labels of each who was given it; an empty pod says that nobody was, no label that
        nobody tells."""
        holders = self._pods.holders(uuid)
        if holders is None:
            return [{}]
        named = [
            {"namespace": h.namespace, "pod": h.pod, "container": h.container} for h in holders
        ]
        return named or [{"namespace": "", "pod": "", "container": ""}]


def _instance_labels(instance: MigInstance) -> dict[str, str]:
    return {"GPU_I_PROFILE": instance.profile, "GPU_I_ID": str(instance.number)}
