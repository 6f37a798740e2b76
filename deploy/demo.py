"""`make demo`: a Kafka broker where Java and Maven are there, then `fleetmend demo` on it.

`STREAMS=embedded` (or no Java) takes the embedded log instead.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deploy.parts.kafka import KafkaBroker, kafka_jars


def main() -> int:
    """Start, wait for Ctrl C, stop in good order; the demonstration's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="fleetmend-demo-"))
    broker = None
    try:
        arguments = sys.argv[1:]
        if wants_kafka():
            print("fetching Kafka (43 MB the first time) ...", flush=True)
            kafka_jars()
            print("starting a Kafka broker ...", flush=True)
            broker = KafkaBroker(folder / "kafka")
            arguments = ["--bootstrap", broker.bootstrap, *arguments]
        else:
            print("using the embedded log", flush=True)
        print(f"starting the platform ({time.monotonic() - started:.0f} s) ...", flush=True)
        command = [str(Path(sys.executable).with_name("fleetmend")), "demo", *arguments]
        return wait_for(subprocess.Popen(command))
    finally:
        if broker is not None:
            broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def wants_kafka() -> bool:
    """Whether a broker can be had and nobody asked for the embedded log."""
    if os.environ.get("STREAMS") == "embedded":
        return False
    return shutil.which("java") is not None and shutil.which("mvn") is not None


def wait_for(platform: subprocess.Popen[bytes]) -> int:
    """Pass SIGTERM and Ctrl C on to the platform and wait until it has stopped."""
    signal.signal(signal.SIGTERM, lambda *_: platform.terminate())
    while True:
        try:
            return platform.wait()
        except KeyboardInterrupt:
            platform.send_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
