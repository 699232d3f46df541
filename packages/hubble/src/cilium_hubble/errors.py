# SPDX-License-Identifier: Apache-2.0
"""Errors of hubble. Each text says what is wrong and, where something can be done, what."""

from __future__ import annotations

from cilium_core.errors import CiliumError


class HubbleError(CiliumError):
    """Base of hubble's own errors."""


class KernelError(HubbleError):
    """A bpf(2) command failed. `errno` is the kernel's."""

    def __init__(self, command: str, number: int, text: str) -> None:
        """Keep the number; the text names the command."""
        super().__init__(f"bpf {command}: {text} (errno {number})")
        self.errno = number


class LayoutMismatch(HubbleError):
    """The kernel's ring holds another layout than this version reads."""


class RingBusy(HubbleError):
    """Another process reads the ring."""
