# SPDX-License-Identifier: Apache-2.0
"""Structured logs: one JSON object per line on stderr, library records included.

Set up once at start, before any task runs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import structlog


def setup(debug: bool, levels: Mapping[str, int]) -> None:
    """Route structlog and the standard library's loggers to stderr as JSON.

    `levels` are those of libraries that say too much for a log that people read.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("msg"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name, level in {"asyncio": logging.WARNING, **levels}.items():
        logging.getLogger(name).setLevel(level)
