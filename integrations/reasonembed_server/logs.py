"""Structured logs: one JSON object per line, without texts and keys."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

__all__ = ["JsonLines", "log_event", "log_to_stderr"]

_logger = logging.getLogger("reasonembed_server")


class JsonLines(logging.Formatter):
    """Format a record as a line of JSON; of an exception only its class and where it was raised."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, default=str)


def log_event(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Log an event with its fields; those that are None are left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    _logger.log(level, event, extra={"fields": known}, exc_info=error)


def log_to_stderr() -> None:
    """Write every log of this process to stderr as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("reasonembed_server", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
