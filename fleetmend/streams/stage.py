"""What a stage is: a deterministic fold over ticks, with a state that can be saved and restored.

A stage reads no clock, no random numbers and no network. Given the same ticks it gives the same
outputs, live, in replay, in simulation and after a crash. `streams.runner` drives it.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.topics import Topic

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

State = Mapping[str, "NDArray[np.generic] | Json"]
"""A stage's state: named arrays (no object dtype) and JSON values. Never pickled."""


class Stage(Protocol):
    """Detection, root cause: everything that decides."""

    @property
    def name(self) -> str:
        """Also the name of its fold and of its snapshots."""
        ...

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """The topics that it folds."""
        ...

    def arrive(self, record: Record) -> list[Outgoing]:
        """Called once for each record as it is read, before its tick closes: provisional outputs.

        May read the state but must not change it (the order of arrival between two ticks is not
        part of the fold); most stages return nothing.
        """
        ...

    def fold(self, tick: TickInput) -> list[Outgoing]:
        """Take in one tick and say what follows. Output ids depend on content, not on attempts."""
        ...

    def snapshot(self) -> State:
        """The state after the last fold."""
        ...

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        ...
