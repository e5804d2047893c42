"""Logging: one line of JSON per event on stderr, with no secret in it."""

import json
import logging
import sys


class JSONLines(logging.Formatter):
    """Values are JSON-escaped, so that a name with a line break cannot forge a second line.

    JSON is UTF-8 (RFC 8259 §8.1): where a line goes out in anything else, what is no ASCII is escaped, too.
    """

    def __init__(self, *, encoding: str) -> None:
        super().__init__()
        self._escapes = encoding.lower() not in ("utf-8", "utf8")

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        reference = getattr(record, "reference", None)
        if reference:
            line["reference"] = reference
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=self._escapes)


def configure(level: int = logging.INFO) -> None:
    """Send everything to stderr as JSON lines; may be called twice."""
    root = logging.getLogger()
    if any(isinstance(handler.formatter, JSONLines) for handler in root.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines(encoding=getattr(sys.stderr, "encoding", None) or "utf-8"))
    root.addHandler(handler)
    root.setLevel(level)
    for chatty in ("apscheduler", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
