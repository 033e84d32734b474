"""`log_at`: what `log_info(message, type)` of the old interfaces means to `logging`.

Must not know: who logs, or handlers. Source: IDispatcherLogging.
"""

from __future__ import annotations

import logging

__all__ = ["log_at"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def log_at(logger: logging.Logger, kind: str, message: str) -> None:
    """Log `message` at the level that `kind` names; an unknown kind counts as "info"."""
    logger.log(_LEVELS.get(kind, logging.INFO), "%s", message)
