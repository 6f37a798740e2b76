"""Structured logs: one JSON object a line on standard error, or plain lines on a terminal.

Rooms use the standard `logging` with a constant text and values in `extra`; only this module knows
the library that renders them. Values are capped, so hostile telemetry cannot flood a log.
"""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

VALUE_CHARS_MAX = 500


def configure(*, role: str, level: int = logging.INFO) -> None:
    """Send everything logged in this process to standard error."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _capped,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer(default=str)
    )
    ours: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not sys.stderr.isatty():
        ours.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _with_role(role)], processors=[*ours, renderer]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The client warns whenever another thread held the interpreter for a tenth of a second.
    logging.getLogger("kafka").setLevel(logging.ERROR)


def _with_role(role: str) -> Processor:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["role"] = role
        return event

    return add


def _capped(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > VALUE_CHARS_MAX:
            event[key] = value[:VALUE_CHARS_MAX] + "..."
    return event
