# SPDX-License-Identifier: Apache-2.0
"""Errors of the node's network; each names the device, route or file and the kernel's answer."""

from __future__ import annotations

from cilium_agent.errors import AgentError


class HostError(AgentError):
    """The node's network could not be put into the wanted state."""


class NetnsError(HostError):
    """A network namespace cannot be entered; the text names its path."""


class LinkError(HostError):
    """A link, address, neighbour or route was refused; the text names it and the reason."""
