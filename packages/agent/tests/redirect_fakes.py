# SPDX-License-Identifier: Apache-2.0
"""The redirects' maps in memory."""

from __future__ import annotations


class FakeRedirects:
    """What is led where, and which rule set a port stands for."""

    def __init__(self) -> None:
        self.led: dict = {}
        self.ports: dict[int, bytes] = {}

    def records(self):
        return dict(self.ports)

    def record(self, changes) -> None:
        self.ports.update({port: content for port, content in changes.items() if content})

    def held(self):
        return dict(self.led)

    def write(self, ports) -> None:
        assert set(ports.values()) <= self.ports.keys(), "recorded before it is used"
        self.led.update(ports)

    def delete(self, places) -> None:
        for at in places:
            del self.led[at]
