"""Intake and executor in turn, in one thread, since they share the picture of the fleet.

The composition root calls `step` in a loop. Whatever the intake's trouble, sessions go on: with an
old picture admission takes nothing, and what is due to be given back is.
"""

from remediation.execute import Executor
from remediation.intake import Intake
from remediation.picture import Picture

TURNS_MAX = 5
"""Turns of sessions in one step, before the log is looked at again: an incident that has just come
waits no longer than these."""


class Mender:
    """One round of remediation after the other."""

    def __init__(
        self, intake: Intake, executor: Executor, picture: Picture, *, wait_s: float = 0.0
    ) -> None:
        """`wait_s`: how long a round may wait for news from the log when the last found nothing
        to do."""
        self._intake = intake
        self._executor = executor
        self._picture = picture
        self._wait_s = wait_s
        self._busy = True
        self._started = False

    def step(self) -> int:
        """What is new, then turns of sessions; how much there was. Raises whatever the intake
        raises (FleetError for trouble with the log or the store), but only after the executor has
        had its turns."""
        try:
            taken = self._take_in()
        except Exception as trouble:
            # Set again by the intake once it can read: until then what is known may be old.
            self._picture.behind = f"incidents cannot be taken in: {trouble}"
            self._act()
            raise
        turns = self._act()
        self._busy = taken + turns > 0
        return taken + turns

    def _take_in(self) -> int:
        if not self._started:
            self._intake.start()
            self._started = True
        return self._intake.step(wait_s=0.0 if self._busy else self._wait_s)

    def _act(self) -> int:
        turns = 0
        while turns < TURNS_MAX and self._executor.run_once():
            turns += 1
        return turns
