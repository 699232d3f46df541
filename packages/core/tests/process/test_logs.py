# SPDX-License-Identifier: Apache-2.0
"""What a daemon writes on stderr, in a process of its own: logging is one per process."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from cilium_core.process import logs
logs.setup(DEBUG, {"chatty": logging.WARNING})
structlog.contextvars.bind_contextvars(pod="p")
log = structlog.get_logger("ours")
log.debug("detail")
log.info("hello", answer=42)
logging.getLogger("library").warning("theirs %s", 1)
logging.getLogger("chatty").info("too much")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("bad")
"""


def lines(debug: bool) -> list[dict[str, object]]:
    script = SCRIPT.replace("DEBUG", str(debug))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_records_are_json_with_their_context() -> None:
    hello, theirs, bad = lines(debug=False)
    assert (hello["msg"], hello["answer"], hello["pod"]) == ("hello", 42, "p")
    assert (hello["level"], hello["logger"]) == ("info", "ours")
    assert str(hello["time"]).endswith("Z")
    assert (theirs["msg"], theirs["level"], theirs["logger"]) == ("theirs 1", "warning", "library")
    assert "ZeroDivisionError" in str(bad["exception"])


def test_debug_shows_more_of_ours_and_no_more_of_the_chatty() -> None:
    assert [line["msg"] for line in lines(debug=True)] == ["detail", "hello", "theirs 1", "bad"]
