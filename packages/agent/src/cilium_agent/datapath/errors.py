# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the agent and the kernel, each saying what to do."""

from __future__ import annotations

from cilium_core.errors import CiliumError


class DatapathError(CiliumError):
    """Base of every error of the datapath."""


class KernelError(DatapathError):
    """A bpf(2) command failed. `errno` is the kernel's number, `command` its name."""

    def __init__(self, command: str, number: int, text: str) -> None:
        """Keep the command and the number; the text names both."""
        super().__init__(f"bpf {command}: {text} (errno {number})")
        self.command = command
        self.errno = number
        self.attr = b""  # the attribute block as the kernel left it (batches report progress)
        self.done: int | None = None  # elements written before the error, None when not known


class MapMismatch(DatapathError):
    """A pinned map has another layout than this version declares: remove the pin or downgrade."""


class ProgramsUnavailable(DatapathError):
    """The programs could not be built or loaded and none from before can serve."""


class AttachFailed(DatapathError):
    """A program could not be attached; the text names the device or cgroup and the hook."""


class TableFull(DatapathError):
    """A policy table has no room for what is wanted: what it held before stays in force."""


class RowTooWide(DatapathError):
    """A port's row names more words of peer sets than the kernel reads: fewer, wider rules."""
