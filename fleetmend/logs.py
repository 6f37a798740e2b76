"""Structured logs: one JSON object a line on standard error, or plain lines on a terminal.

Rooms use the standard `logging` with a constant text and values in `extra`; only this module knows
how they are rendered. Values are capped and what cannot be printed is escaped, so hostile telemetry
can neither flood a log nor steer a terminal.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from fleetmend.model.entities import printable

VALUE_CHARS_MAX = 500
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What the library itself keeps in a record: everything else came in `extra`."""


class JsonLines(logging.Formatter):
    """One object a line: `event`, `level`, `timestamp`, the values, `role`; `exception` last."""

    def __init__(self, *, role: str) -> None:
        """`role`: of the process, in every line."""
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": _capped(record.getMessage()),
            "level": record.levelname.lower(),
            "timestamp": _moment(record),
            **_values(record),
            "role": self._role,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """For people: time, level, text and values, a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f" {key}={value}" for key, value in _values(record).items())
        line = (
            f"{_moment(record)} {record.levelname.lower():8}{_capped(record.getMessage())}{values}"
        )
        shown = printable(line)
        return f"{shown}\n{self.formatException(record.exc_info)}" if record.exc_info else shown


def configure(*, role: str, level: int = logging.INFO) -> None:
    """Send everything logged in this process to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines(role=role))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The client warns whenever another thread held the interpreter for a tenth of a second.
    logging.getLogger("kafka").setLevel(logging.ERROR)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")


def _values(record: logging.LogRecord) -> dict[str, object]:
    return {key: _capped(value) for key, value in record.__dict__.items() if key not in _OWN}


def _capped(value: object) -> object:
    if isinstance(value, str) and len(value) > VALUE_CHARS_MAX:
        return value[:VALUE_CHARS_MAX] + "..."
    return value
