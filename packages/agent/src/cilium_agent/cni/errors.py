# SPDX-License-Identifier: Apache-2.0
"""CNI errors: a code of the specification and a message that names the field."""

from __future__ import annotations

from enum import IntEnum

from cilium_agent.datapath.errors import DatapathError
from cilium_agent.endpoints.errors import AttachRefused, EndpointsExhausted, NoSuchEndpoint
from cilium_agent.errors import AgentError, ApiError, IdentitiesExhausted, PodGone, PoolExhausted
from cilium_agent.host.errors import HostError


class Code(IntEnum):
    """Codes that this plugin answers with; 1-99 are the specification's, 100 and up our own."""

    INCOMPATIBLE_VERSION = 1
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODE_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    NOT_AS_EXPECTED = 101
    INTERNAL = 999


class CniError(AgentError):
    """A request that ends in an error object."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        """Keep the parts of the error object."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


_CODES: tuple[tuple[type[BaseException], Code, str], ...] = (
    (AttachRefused, Code.INVALID_ENVIRONMENT, "request refused"),
    (PodGone, Code.UNKNOWN_CONTAINER, "pod is gone"),
    (NoSuchEndpoint, Code.UNKNOWN_CONTAINER, "no such endpoint"),
    (PoolExhausted, Code.TRY_AGAIN_LATER, "no address"),
    (EndpointsExhausted, Code.TRY_AGAIN_LATER, "no endpoint id"),
    (IdentitiesExhausted, Code.TRY_AGAIN_LATER, "no identity"),
    (ApiError, Code.TRY_AGAIN_LATER, "Kubernetes API"),
    (DatapathError, Code.TRY_AGAIN_LATER, "datapath"),
    (HostError, Code.IO_FAILURE, "network set-up failed"),
    (AgentError, Code.TRY_AGAIN_LATER, "agent"),
    (OSError, Code.IO_FAILURE, "system call failed"),
)


def as_cni_error(error: BaseException) -> CniError:
    """Return the CNI error for what a handler raised."""
    if isinstance(error, CniError):
        return error
    for kind, code, word in _CODES:
        if isinstance(error, kind):
            return CniError(code, f"{word}: {error}")
    return CniError(Code.INTERNAL, f"agent failed: {type(error).__name__}: {error}")
