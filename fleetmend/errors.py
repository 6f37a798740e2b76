"""The exceptions of fleetmend: each says what happened, where, and what to do about it.

A library's own errors are translated at the adapter (`raise ... from error`); inside the house only
these travel. An error is raised or logged, never both.
"""


class FleetError(Exception):
    """Root of everything that fleetmend raises on purpose."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(
            ". ".join(part for part in (f"{where}: {what}" if where else what, fix) if part)
        )


class SettingsError(FleetError):
    """A settings file, variable or flag cannot be used. Start-up stops."""


class BadInput(FleetError):
    """Something from outside cannot be understood: it is counted, kept as a dead letter, and
    skipped.

    `where` names the source and, where there is one, the line: `http://node-3:9400/metrics line
    12`.
    """


class StreamError(FleetError):
    """A log could not be read or written. The caller may try again."""


class OffsetsLost(StreamError):
    """The log no longer holds the offsets a stage needs: rebuild, alarm, hold mutations."""


class StoreError(FleetError):
    """The database refused or could not be reached. The caller may try again."""


class StoreConflict(StoreError):
    """Somebody else changed the row first (optimistic version, unique decision). Read again."""


class PortError(FleetError):
    """A cluster, proxy, engine or receiver did not do what was asked. The caller may try again."""


class PortRefused(PortError):
    """The other side understood and said no (403, 404, 422): trying again will not help."""


class FenceLost(FleetError):
    """This worker no longer holds the session: it must stop at once and change nothing more."""


class ActionRefused(FleetError):
    """A guard said no. Expected, audited with its reasons, never retried blindly."""

    def __init__(self, *, guard: str, reason: str) -> None:
        super().__init__(reason, where=guard)
        self.guard = guard
        self.reason = reason
