# SPDX-License-Identifier: Apache-2.0
"""Errors of the agent. Each text names the field or object and what to do about it."""

from __future__ import annotations

from cilium_core.errors import CiliumError


class AgentError(CiliumError):
    """Base of the agent's own errors."""


class ApiError(AgentError):
    """The API server refused a request. `status` is HTTP's, `reason` is Kubernetes'."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Keep the parts; the text is Kubernetes' message."""
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        """The object (or its kind) does not exist."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """A create met an object of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """A guarded write met another version of the object."""
        return self.status == 409 and self.reason != "AlreadyExists"


class StartOver(AgentError):
    """This node is not what the agent started with: the process ends and begins anew."""


class PodGone(AgentError):
    """The pod is not in the API server, or another pod has its name now."""


class IdentitiesExhausted(AgentError):
    """No cluster identity number is free."""


class PoolExhausted(AgentError):
    """A pod CIDR has no free address; the text names the CIDR."""


class AddressTaken(AgentError):
    """An address belongs to another owner; the text names both."""
