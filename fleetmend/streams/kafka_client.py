"""Making kafka-python's clients without leaks, and turning its errors into ours.

Used by `fleetmend.streams.kafka` and `kafka_reader` alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from fleetmend.errors import StreamError

OPEN_TIMEOUT_MS = 10_000
"""How long a broker may take to answer for the first time."""
RECONNECT_MS_MAX = 1_000
"""Longest pause between attempts to reach a broker that is down. The library's 30 s would add half
a minute to every restart of a broker."""


def connect(make: Callable[..., Any], **configs: Any) -> Any:
    """A producer, consumer or admin client, connected to a broker.

    When no broker answers, kafka-python's constructors raise but leave a thread that goes on
    trying and its sockets; here these are closed.
    """
    networks: list[Any] = []

    def network(**details: Any) -> Any:
        networks.append(KafkaNetClient(**details))
        return networks[-1]

    made = None
    try:
        made = make(
            kafka_client=network,
            bootstrap_timeout_ms=OPEN_TIMEOUT_MS,
            reconnect_backoff_max_ms=RECONNECT_MS_MAX,
            **configs,
        )
        return made
    finally:
        if made is None:
            for left in networks:
                left.close()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn kafka-python's errors into ours."""
    try:
        yield
    except (KafkaError, OSError, RuntimeError) as error:
        raise StreamError(f"{type(error).__name__}: {error}", where=where) from error
