"""Where input goes that cannot be understood: counted, kept, readable; it stops nothing else."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One piece of input that could not be used."""

    at_s: float
    source: str
    """Which door it came through: `scrape`, `kmsg`, `stream`, `settings`, `webhook` ..."""
    where: str
    """As precisely as known: address and line, topic, partition and offset, file and line."""
    error: str
    payload: bytes
    """The input itself, cut at 4 KiB."""


class DeadLetters(Protocol):
    """Bounded: the oldest go first; the count never forgets."""

    def put(self, letter: DeadLetter) -> None:
        """Keep and count it. Never raises for the caller's input."""
        ...
