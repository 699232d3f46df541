# SPDX-License-Identifier: Apache-2.0
"""The last rule sets in a file, for a proxy that starts while the agent is away.

Written before a change is put in force, so that the file is never older than what a proxy does:
to start with rules that have since become stricter would open what is closed. The folder belongs
to the node's run time: after a reboot there is nothing to remember.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from cilium_core.proto import proxy_pb2 as pb

log = structlog.get_logger(__name__)


class Memory:
    """One file with all rule sets of a proxy."""

    def __init__(self, path: Path) -> None:
        """Use this file; its folder is made with the first `write`."""
        self._path = path

    def read(self) -> list[pb.RuleSet] | None:
        """Return the rule sets that were written last, None when there are none to be had."""
        try:
            update = pb.Update.FromString(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, DecodeError) as error:
            log.warning("the rules of the last run cannot be read", reason=str(error))
            return None
        return list(update.rule_sets) if update.complete else None

    def write(self, sets: Iterable[pb.RuleSet]) -> None:
        """Replace the file. A disk that refuses is logged: rules are enforced all the same."""
        update = pb.Update(snapshot=True, complete=True, rule_sets=sets)
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(update.SerializeToString())
            os.replace(part, self._path)
        except OSError as error:
            log.warning("the rules cannot be written down", reason=str(error))
            self._path.unlink(missing_ok=True)
