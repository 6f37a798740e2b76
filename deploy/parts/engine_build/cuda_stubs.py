"""Tiny shared objects in place of the CUDA libraries that PyPI's torch links to.

With them `import torch` works on a machine without a GPU and without 2.2 GB of wheels. Each exports
exactly the symbols and symbol versions that torch's own libraries ask for; every function returns
an error. For test rigs only. Needs gcc and readelf.
"""

import re
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PREFIXES = {
    "cudnn": "cudnn",
    "nccl": "nccl",
    "nvshmem_host": "nvshmem",
    "nvrtc": "nvrtc",
    "cupti": "cupti",
    "cufile": "cuFile",
    "cusparseLt": "cusparseLt",
    "cusparse": "cusparse",
    "cusolver": "cusolver",
    "cufft": "cufft",
    "curand": "curand",
    "cublasLt": "cublasLt",
    "cublas": "cublas",
    "cudart": "cuda",
    "nvJitLink": "nvJitLink",
}
"""What the symbols of a library begin with."""
_LIBRARY = re.compile(rf"lib({'|'.join(_PREFIXES)})\.so\.\d+")
_CUDA = re.compile(r"(cu|nv|nccl|_?_?cuda|__nv)")
_SYMBOL_COLUMNS = 8


@dataclass(slots=True)
class _Wanted:
    """What torch's libraries ask for."""

    libraries: set[str] = field(default_factory=set)
    by_version: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    versions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Symbol versions by library."""
    unversioned: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)


def make_stubs(torch_lib: Path, out: Path, *, real: Collection[str]) -> None:
    """Write a stub into `out` for every CUDA library that is wanted and not in `real`."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = _Wanted()
    for path in sorted(torch_lib.glob("*.so*")):
        _read(path, wanted)
    left = wanted.unversioned - wanted.defined
    for soname in sorted(wanted.libraries - set(real)):
        base = soname.removeprefix("lib").split(".so")[0]
        plain = _plain(base, left)
        left -= plain
        script = {name: sorted(wanted.by_version[name]) for name in wanted.versions[soname]}
        _compile(out, soname, script, plain)


def _read(path: Path, wanted: _Wanted) -> None:
    for line in _readelf("-dW", path):
        wanted.libraries |= {
            name for name in re.findall(r"NEEDED.*\[(.*?)\]", line) if _LIBRARY.fullmatch(name)
        }
    for line in _readelf("--dyn-syms", path):
        columns = line.split()
        if len(columns) < _SYMBOL_COLUMNS:
            continue
        symbol, _, version = columns[7].partition("@")
        if columns[6] != "UND":
            wanted.defined.add(symbol)
        elif columns[4] != "WEAK" and version:
            wanted.by_version[version.strip("@")].add(symbol)
        elif columns[4] != "WEAK" and _CUDA.match(symbol):
            wanted.unversioned.add(symbol)
    soname = ""
    for line in _readelf("-VW", path):
        if found := re.search(r"File: (\S+)", line):
            soname = found.group(1)
        if (found := re.search(r"Name: (\S+)\s+Flags", line)) and soname:
            wanted.versions[soname].add(found.group(1))


def _plain(base: str, left: Collection[str]) -> set[str]:
    """Symbols without a version that belong to this library: the longest prefix decides."""
    mine = _PREFIXES[base]
    longer = tuple(prefix for prefix in _PREFIXES.values() if len(prefix) > len(mine))
    return {name for name in left if name.startswith(mine) and not name.startswith(longer)}


def _compile(out: Path, soname: str, script: dict[str, list[str]], plain: set[str]) -> None:
    symbols = dict.fromkeys(name for names in script.values() for name in names)
    symbols |= dict.fromkeys(sorted(plain - set(symbols)))
    source = out / f"{soname}.c"
    source.write_text("".join(f"int {name}(void){{return 3;}}\n" for name in symbols) or "int x;\n")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-w", f"-Wl,-soname,{soname}"]
    if script and not plain:
        blocks = [
            f"{version} {{ global: {' '.join(f'{n};' for n in names)} local: *; }};"
            if names
            else f"{version} {{ }};"
            for version, names in sorted(script.items())
        ]
        versions = out / f"{soname}.map"
        versions.write_text("\n".join(blocks))
        command.append(f"-Wl,--version-script={versions}")
    subprocess.run([*command, "-o", str(out / soname), str(source)], check=True)


def _readelf(option: str, path: Path) -> Iterator[str]:
    done = subprocess.run(
        ["readelf", option, "-W", str(path)], capture_output=True, text=True, check=False
    )
    yield from done.stdout.split("\n")
