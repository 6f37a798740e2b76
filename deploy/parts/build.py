"""Build and fetch all heavy parts: `python -m deploy.parts.build`; what is in the cache costs
nothing."""

import time

from deploy.parts.kafka import kafka_jars
from deploy.parts.kube_binaries import PROGRAMS, kube_binary


def main() -> None:
    """Kafka's jars first (seconds), then the control plane, the smallest useful set first."""
    started = time.monotonic()
    kafka_jars()
    print(f"kafka {time.monotonic() - started:.0f} s", flush=True)
    for program in PROGRAMS:
        kube_binary(program)
        print(f"{program} {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
