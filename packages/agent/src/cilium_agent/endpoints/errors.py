# SPDX-License-Identifier: Apache-2.0
"""Errors of endpoint work; each names the field or the endpoint."""

from __future__ import annotations

from cilium_agent.errors import AgentError


class AttachRefused(AgentError):
    """An attachment cannot be made as asked; `field` names the part of the request at fault."""

    def __init__(self, field: str, reason: str) -> None:
        """Keep both parts; the text is `field: reason`."""
        super().__init__(f"{field}: {reason}")
        self.field = field


class EndpointsExhausted(AgentError):
    """All 65535 endpoint ids are in use."""


class NoSuchEndpoint(AgentError):
    """No endpoint of that id, container or pod is on this node."""
