"""The Kubernetes control plane, compiled from its Go modules once (about 965 CPU-seconds cold).

`etcd` and `kube-apiserver` come first: alone they already serve most tests.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from deploy.parts.cache import cached

VERSION = "v1.37.2"
KWOK_VERSION = "v0.8.0"
MODULE = Path(__file__).parent / "kube_build"
PROGRAMS = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}


_STAMP = "k8s.io/component-base/version"
# The commit and date are fixed so that the same sources give the same bytes.
LINKER_FLAGS = "-s -w " + " ".join(
    f"-X {name}={value}"
    for name, value in {
        f"{_STAMP}.gitVersion": VERSION,
        f"{_STAMP}.gitMajor": "1",
        f"{_STAMP}.gitMinor": VERSION.split(".")[1],
        f"{_STAMP}.gitTreeState": "clean",
        f"{_STAMP}.gitCommit": "module",
        f"{_STAMP}.buildDate": "2026-01-01T00:00:00Z",
        "sigs.k8s.io/kwok/pkg/consts.Version": KWOK_VERSION,
    }.items()
)
ENVIRONMENT = {
    "GOTOOLCHAIN": "local",
    "CGO_ENABLED": "0",
    "GOFLAGS": "-buildvcs=false -mod=readonly",
}


def kube_binary(program: str) -> Path:
    """The path of a compiled program; compiles it (and only it) when it is not in the cache."""

    def build(folder: Path) -> None:
        command = ["go", "build", "-trimpath", "-ldflags", LINKER_FLAGS]
        command += ["-o", str(folder / program), PROGRAMS[program]]
        subprocess.run(command, cwd=MODULE, env={**os.environ, **ENVIRONMENT}, check=True)

    return cached(f"kube/{_key()}", program, build) / program


def _key() -> str:
    """Version and a hash of everything that decides the bytes."""
    go = subprocess.run(["go", "version"], capture_output=True, check=True).stdout
    content = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum")]
    recipe = [go, LINKER_FLAGS.encode(), repr(ENVIRONMENT).encode(), *content]
    return f"{VERSION}-{hashlib.sha256(b'|'.join(recipe)).hexdigest()[:12]}"
