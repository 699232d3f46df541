# SPDX-License-Identifier: Apache-2.0
"""Errors of the test cluster. Each message says what to do next."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says what to change."""


class CommandFailed(ClusterError):
    """A child process exited non-zero; `output` is the end of what it printed."""

    def __init__(self, argv: list[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(argv[:12])}: exit code {code}\n{output[-4000:]}")
        self.argv = argv
        self.code = code
        self.output = output


class HostNotReady(ClusterError):
    """This machine lacks something that the cluster needs."""
