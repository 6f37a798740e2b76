"""A base install, without the extra `platform`, runs a collector: node agents are many and small.

Each claim runs in a process of its own, where the extra's packages cannot be imported.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
    "python-multipart": "python_multipart",
    "common-expression-language": "cel",
}
EXTRA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
MISSING = sorted(
    IMPORTED_AS.get(name, name)
    for name in (re.split(r"[\[><=]", line)[0] for line in EXTRA["platform"])
)
"""Import names of what the extra brings."""

WITHOUT_EXTRA = f"""
import sys

sys.modules.update(dict.fromkeys({MISSING!r}))  # None there: not to be imported, nor found
sys.argv = ["fleetmend", *sys.argv[1:]]
"""

COLLECT = """
import os, signal, threading
import fleetmend.cli.up as up
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic

log = SqliteLog(":memory:", clock=up.SystemClock(), partitions=1)
up.open_log = lambda settings, clock: log
[topology], [events] = log.partitions(Topic.TOPOLOGY), log.partitions(Topic.EVENTS)
told = threading.Event()

def stop_when_told():
    while not log.end(events) or not log.end(topology):
        told.wait(0.02)
    print("collected")
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop_when_told, daemon=True).start()
"""
MAIN = "from fleetmend.cli import main\nmain()\n"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA + script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_collector_role_runs_and_collects(tmp_path: Path) -> None:
    """Up to an event from a kernel log; the log in memory stands in for a broker."""
    kmsg = tmp_path / "kmsg"
    line = "NVRM: Xid (PCI:0000:00:06): 79, GPU has fallen off the bus."
    kmsg.write_text(f"4,1,99500000,-;{line}\n")
    config = tmp_path / "config.toml"
    config.write_text(
        '[streams]\nengine = "kafka"\n[[collectors.kernel_logs]]\n'
        f'node = "node-3"\npath = "{kmsg}"\nuntold = "kernel_log"\n'
    )

    done = run(COLLECT + MAIN, "up", "--role", "collector", "--config", str(config))

    assert (done.returncode, done.stdout) == (0, "collected\n"), done.stderr


def test_a_command_that_needs_the_extra_says_so_in_one_line() -> None:
    done = run(MAIN, "evaluate", "somewhere")

    assert done.returncode == 1
    assert "`fleetmend evaluate` needs the extra `platform`: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_lists_what_is_there() -> None:
    done = run(MAIN, "--help")

    assert done.returncode == 0, done.stderr
    assert "settings" in done.stdout
    assert "evaluate" not in done.stdout
