# SPDX-License-Identifier: Apache-2.0
"""What a container runtime asks for, and the names that follow from it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

HOST_PREFIX = "lxc"
DIGITS = 12  # of the digest: with the prefix as long as a device's name may be


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of one sandbox. `pod_uid` is empty when the runtime does not give it."""

    container_id: str
    interface: str
    netns: str
    pod_namespace: str
    pod_name: str
    pod_uid: str = ""


def host_interface(container_id: str, interface: str) -> str:
    """Return the name of the host-side device, the same for every call about one attachment."""
    digest = hashlib.sha256(f"{container_id}:{interface}".encode()).hexdigest()
    return HOST_PREFIX + digest[:DIGITS]


def is_host_interface(name: str) -> bool:
    """Tell whether a device name is one of ours."""
    digits = name.removeprefix(HOST_PREFIX)
    return (
        name.startswith(HOST_PREFIX)
        and len(digits) == DIGITS
        and all(c in "0123456789abcdef" for c in digits)
    )
