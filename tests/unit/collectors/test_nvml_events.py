"""Xids through NVML: every GPU is asked, whenever it comes, and one that refuses silences none."""

from types import SimpleNamespace

import pynvml
import pytest

from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import NvmlError, NvmlFailure


class Driver:
    """The binding's functions on GPUs that the test adds and takes away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpus: list[int] = []
        self.refusing: set[int] = set()
        self.registered: list[int] = []
        self.sets = 0
        pci = SimpleNamespace(busId=b"0000:01:00.0")
        for name, answer in {
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": lambda index: self.gpus[index],
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
            "nvmlDeviceGetMigMode": lambda _gpu: (0, 0),
            "nvmlDeviceGetPciInfo": lambda _gpu: pci,
            "nvmlDeviceGetSerial": lambda _gpu: b"1",
            "nvmlDeviceGetName": lambda _gpu: b"NVIDIA H200",
            "nvmlEventSetCreate": self._create,
            "nvmlEventSetFree": self._free,
            "nvmlDeviceRegisterEvents": self._register,
        }.items():
            monkeypatch.setattr(pynvml, name, answer)

    def _create(self) -> object:
        self.sets += 1
        return object()

    def _free(self, _events: object) -> None:
        self.sets -= 1

    def _register(self, gpu: int, _kind: int, _events: object) -> None:
        if gpu in self.refusing:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        self.registered.append(gpu)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


@pytest.mark.parametrize("first", [[], [0]])
def test_a_gpu_that_comes_later_is_asked_for_its_xids(driver: Driver, first: list[int]) -> None:
    library = NvmlLibrary()
    for present in (first, [0, 1], [0, 1]):
        driver.gpus = present
        library.gpus()

    assert driver.registered == [0, 1]
    assert driver.sets == 1


def test_a_gpu_that_refuses_does_not_silence_the_others(driver: Driver) -> None:
    library, driver.gpus, driver.refusing = NvmlLibrary(), [0, 1, 2], {1}
    library.gpus()
    refused = list(driver.registered)
    driver.refusing = set()
    library.gpus()

    assert (refused, driver.registered) == ([0, 2], [0, 2, 1])
    assert driver.sets == 1


def test_where_no_gpu_tells_there_is_no_set_and_none_is_left(driver: Driver) -> None:
    library, driver.gpus, driver.refusing = NvmlLibrary(), [0, 1], {0, 1}
    for _ in range(3):
        library.gpus()

    assert driver.sets == 0
    with pytest.raises(NvmlError) as caught:
        library.wait_xid(0.0)
    assert caught.value.failure is NvmlFailure.NOT_SUPPORTED


def test_a_gpu_that_was_away_is_asked_again(driver: Driver) -> None:
    library = NvmlLibrary()
    for present in ([0, 1], [0], [0, 1]):
        driver.gpus = present
        library.gpus()

    assert driver.registered == [0, 1, 1]
