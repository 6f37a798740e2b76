"""Libraries that stand in for the vendor's, compiled by the tests, and processes that use them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FLAGS = ("-O0", "-w", "-fPIC", "-shared", "-pthread")


def compiled(folder: Path, *, source: str, name: str) -> Path:
    """A shared library of that name in `folder`."""
    target = folder / name
    subprocess.run(
        ["gcc", *FLAGS, f"-Wl,-soname,{name}", "-o", str(target), str(HERE / source)],
        check=True,
    )
    return target


class Worker:
    """A process that has the libraries loaded and calls what it is told."""

    def __init__(self, *libraries: Path, before: tuple[str, ...] = ()) -> None:
        """`before`: a command that ends by becoming the one that follows it."""
        self._process = subprocess.Popen(
            [*before, sys.executable, "-S", str(HERE / "worker.py"), *map(str, libraries)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        assert self._answer() == "ready"

    def __call__(self, *command: Any) -> Any:
        """Make a call and wait for its answer: return code and results."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def out(self, *command: Any) -> int:
        """Make a call that must succeed; its first result."""
        code, results = self(*command)
        assert code == 0
        return int(results[0])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        """End it at once and wait for that."""
        self._process.kill()
        self._process.communicate()

    def outlived_by(self, thread: str) -> None:
        """End it by a thread of that name, which goes last, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(["outlive", thread]) + "\n")
        self._process.stdin.flush()
        self._process.wait(timeout=10)
        self._process.communicate()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


def contained(*libraries: Path) -> Worker:
    """A worker with mounts of its own, the libraries at a path that only it has."""
    folder = Path("/mnt")
    script = f"mount -t tmpfs stand-in {folder} && cp {' '.join(map(str, libraries))} {folder}"
    inside = (folder / library.name for library in libraries)
    command = ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")
    return Worker(*inside, before=command)


def in_first_pid_namespace() -> bool:
    """Whether pids here are those that the kernel's programs see."""
    return os.readlink("/proc/self/ns/pid") == "pid:[4026531836]"
