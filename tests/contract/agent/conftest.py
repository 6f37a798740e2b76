"""The stand-in for the driver's library: compiled once, loaded in place of the real one."""

import subprocess
from collections.abc import Iterator
from ctypes import CDLL
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "standin.c"


@pytest.fixture(scope="session")
def standin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library. Loaded before the binding looks for it, it is what the binding finds;
    with a real driver on the machine this holds as well, since the name is taken."""
    built = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    name = "-Wl,-soname,libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", "-O1", name, "-o", str(built), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return built


@pytest.fixture
def standin(standin_path: Path) -> Iterator[CDLL]:
    """Two healthy GPUs; tests change them by the functions `standin_...`."""
    library = CDLL(str(standin_path))
    library.standin_reset(2)
    yield library
    library.standin_reset(2)
