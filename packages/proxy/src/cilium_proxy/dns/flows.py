# SPDX-License-Identifier: Apache-2.0
"""What the parts of the DNS proxy hand to each other: who asks whom, under which rules."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy.dns.matching import Names
from cilium_proxy.dns.sockets import Place


@dataclass(frozen=True, slots=True)
class Flow:
    """The ends of a client's exchange as the client means them, and how it talks."""

    client: Place
    server: Place
    protocol: int = socket.IPPROTO_UDP

    @property
    def led_here(self) -> bool:
        """Whether the kernel led it here. A packet sent to the listener itself has no server."""
        ends = self.client.address, self.server.address
        return not any(one.is_loopback or one.is_unspecified for one in ends)


class RulesInForce:
    """The rule set behind a port, as it is now; a change is seen by the next question."""

    def __init__(self, rule_set: pb.RuleSet) -> None:
        """Take the first content. FieldError when it cannot be put in force."""
        self.replace(rule_set)

    def replace(self, rule_set: pb.RuleSet) -> None:
        """Take other content for the same port; the former stays when this one is wrong."""
        names = Names(rule_set)
        self.names = names
        self.port: int = rule_set.port
        self.direction: int = rule_set.direction
        self.origins: tuple[str, ...] = tuple(rule_set.origins)


class NoAnswer(Exception):
    """The server did not answer. `told` is whether the client should be told so at once."""

    def __init__(self, reason: str, told: bool) -> None:
        """Keep the reason, for counting."""
        super().__init__(reason)
        self.reason = reason
        self.told = told
