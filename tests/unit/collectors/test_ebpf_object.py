"""The committed object is what its source compiles to, and the tables here are its own."""

import ctypes as c
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import collectors.ebpf
from collectors.ebpf.availability import object_path
from collectors.ebpf.layout import MAPS, Record
from collectors.ebpf.programs import PROGRAMS

FOLDER = Path(collectors.ebpf.__file__).parent
SOURCE = FOLDER / "gpu.bpf.c"


def test_the_object_was_built_from_this_source() -> None:
    recorded = (FOLDER / "gpu.x86_64.bpf.o.source").read_text().strip()
    assert recorded == hashlib.sha256(SOURCE.read_bytes()).hexdigest(), "run: make ebpf"


def test_the_same_compiler_makes_the_same_object(tmp_path: Path) -> None:
    """In another folder, byte for byte: what lies here was made of this source alone."""
    recorded = (FOLDER / "gpu.x86_64.bpf.o.compiler").read_text().strip()
    if shutil.which("clang") is None or shutil.which("llvm-strip") is None:
        pytest.skip("no clang and llvm-strip to compile with")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    if version.stdout.splitlines()[0] != recorded:
        pytest.skip(f"another compiler than {recorded}")
    for name in ("gpu.bpf.c", "build.sh"):
        shutil.copy(FOLDER / name, tmp_path)
    subprocess.run(["bash", str(tmp_path / "build.sh")], check=True)

    built = (tmp_path / "gpu.x86_64.bpf.o").read_bytes()
    assert built == (FOLDER / "gpu.x86_64.bpf.o").read_bytes()


def test_the_object_says_a_licence_that_the_kernel_takes() -> None:
    assert b"Dual BSD/GPL\0" in (FOLDER / "gpu.x86_64.bpf.o").read_bytes()


def test_every_program_is_in_one_group_and_every_group_names_programs_of_the_source() -> None:
    written = re.findall(
        r'^SEC\("[^"]+"\)\s+int\s+(?:BPF_\w+\()?(on_\w+)', SOURCE.read_text(), re.MULTILINE
    )
    grouped = [name for programs in PROGRAMS.values() for name in programs.names]
    assert sorted(written) == sorted(grouped)


def test_every_map_of_the_source_has_a_layout() -> None:
    declared = set(re.findall(r"\} (\w+) SEC\(\"\.maps\"\)", SOURCE.read_text()))
    assert declared == {*MAPS, "records"}


def test_layouts_have_the_sizes_that_the_source_declares() -> None:
    """By the C types' own sizes; no member of them needs hidden padding."""
    sizes = {name: (c.sizeof(key), c.sizeof(value)) for name, (key, value) in MAPS.items()}
    assert sizes == {
        "live": (16, 24),
        "usages": (8, 15 * 8),
        "calls": (16, 56),
        "waits": (16, 16),
        "contexts": (16, 4),
        "current_device": (8, 4),
        "communicators": (16, 40),
        "tracked": (4, 4),
        "blocked": (4, 16),
        "stalls": (4, 24),
        "totals": (4, 8),
        "limits": (4, 8),
    }
    assert c.sizeof(Record) == 24 + 16 + 224


def test_each_kind_of_processor_has_its_own_object() -> None:
    assert object_path(FOLDER).name.startswith("gpu.")
