# SPDX-License-Identifier: Apache-2.0
"""The rule sets of this node: which proxies have, and so which connections are led to them.

A proxy listens first, then the kernel leads connections there; in the end the other way round. So a
redirect is written when a proxy has said that its rule set is in force, and a rule set that nobody
uses any more is told to be removed when no redirect is left. What the kernel led to a port before a
restart was in force and stays so. Plain calls on the event loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cilium_core.policy.redirects import At, RuleSet
from cilium_core.policy.rules import L7Kind
from cilium_core.policy.rulesets import NoPortLeft, RuleSetPorts

log = structlog.get_logger(__name__)

PATIENCE = (
    5.0  # seconds that a row goes on under its former rule set while proxies lack the new one
)


class RedirectKernel(Protocol):
    """The redirects' maps. Calls return when the kernel has it, or raise."""

    def records(self) -> Mapping[int, bytes]:
        """Return which rule set a port stands for."""

    def record(self, changes: Mapping[int, bytes | None]) -> None:
        """Store (None: forget) which rule set a port stands for."""

    def held(self) -> Mapping[At, int]:
        """Return the port that each row leads an identity to."""

    def write(self, ports: Mapping[At, int]) -> None:
        """Lead to these ports from now on."""

    def delete(self, places: Iterable[At]) -> None:
        """Lead nowhere from now on, and so drop."""


@dataclass(slots=True)
class Held:
    """A rule set that rows use, with the revision of its content."""

    port: int
    rules: RuleSet
    revision: int
    places: set[At] = field(default_factory=set)  # that want it
    in_force: bool = False
    error: str = ""


Listener = Callable[[Held, bool], None]  # a rule set that is new, changed, or (True) removed


class RuleSets:
    """See the module. `on_force` is told when what has been judged is to be judged again."""

    def __init__(self, kernel: RedirectKernel, clock: Callable[[], float] = time.monotonic) -> None:
        """Adopt what the kernel holds."""
        self.on_force: Callable[[], None] = lambda: None
        self.listeners: list[Listener] = []
        self._kernel, self._clock = kernel, clock
        self._ports = RuleSetPorts()
        self._ports.adopt(kernel.records())
        self._led: dict[At, int] = dict(kernel.held())
        self._adopted = set(self._led.values())  # ports that were in force before
        self._wanted: dict[At, bytes] = {}
        self._sets: dict[bytes, Held] = {}
        self._by_port: dict[int, Held] = {}
        self._late: dict[At, float] = {}  # under a former rule set since
        self._revision = time.time_ns() // 1_000  # over those of earlier processes

    def take_in(self, changes: Mapping[At, RuleSet | None]) -> None:
        """Take in what the engine wants; nothing is led elsewhere yet."""
        for at, rules in changes.items():
            old = self._wanted.pop(at, None)
            held = self._hold(rules) if rules is not None and rules.kind is not None else None
            if held is not None:
                self._wanted[at] = held.rules.digest
                held.places.add(at)
            if old is not None and old != self._wanted.get(at):
                self._sets[old].places.discard(at)

    def adopted_all(self) -> None:
        """Say that all that is wanted has been taken in: ports that nobody asked for may go."""
        self._ports.release_adopted()

    def before_rows(self) -> None:
        """Lead where rule sets are in force, before rows say that they lead anywhere."""
        now = self._clock()
        self._ports.expire(now)
        try:
            self._kernel.record(self._ports.take_changes())
        except BaseException:
            self._ports.failed()
            raise
        self._write(at for at in self._wanted if self._forced(at))

    def after_rows(self) -> None:
        """Lead nowhere where no row does any more, and let go of rule sets that nobody uses."""
        now = self._clock()
        for at in self._led.keys() & self._wanted.keys():
            if self._led[at] != self._sets[self._wanted[at]].port:
                self._late.setdefault(at, now)
        self._late = {at: since for at, since in self._late.items() if self._is_late(at)}
        over = [at for at, since in self._late.items() if now - since >= PATIENCE]
        gone = [*(self._led.keys() - self._wanted.keys()), *over]
        self._kernel.delete(gone)
        for at in gone:
            del self._led[at]
            self._late.pop(at, None)
        self._let_go(now)

    def acknowledge(self, port: int, revision: int, error: str = "") -> None:
        """Take in what became of a rule set at a proxy."""
        held = self._by_port.get(port)
        if held is None:
            return
        if error:
            held.error = error
            log.error("a proxy refuses a rule set", port=port, error=error, name=held.rules.name)
            return
        if revision == held.revision:
            held.error = ""
        if not held.in_force and revision == held.revision:
            held.in_force = True
            self._write(held.places)
            self.on_force()

    def all(self) -> list[Held]:
        """Return the rule sets that rows use."""
        return [held for held in self._sets.values() if held.places]

    @property
    def waiting(self) -> bool:
        """Whether rows go on under a former rule set: `after_rows` is due again in a while."""
        return bool(self._late)

    def missing(self) -> int:
        """Return how many redirects wait for a proxy; what they govern is dropped meanwhile."""
        return sum(not self._forced(at) for at in self._wanted)

    def in_force(self) -> Mapping[L7Kind, int]:
        """Return how many rule sets of each kind connections are led to."""
        found = Counter[L7Kind]()
        for held in self.all():
            if held.in_force and held.rules.kind is not None:
                found[held.rules.kind] += 1
        return found

    def _hold(self, rules: RuleSet) -> Held | None:
        held = self._sets.get(rules.digest)
        if held is None:
            try:
                port = self._ports.acquire(rules.digest)
            except NoPortLeft as error:
                log.error("connections are dropped", rules=rules.name, error=str(error))
                return None
            self._revision += 1
            forced = port in self._adopted
            held = self._sets[rules.digest] = Held(port, rules, self._revision, in_force=forced)
            self._by_port[port] = held
            self._tell(held)
        elif held.rules != rules:
            self._revision += 1
            held.rules, held.revision = rules, self._revision
            self._tell(held)
        return held

    def _forced(self, at: At) -> bool:
        return self._sets[self._wanted[at]].in_force

    def _is_late(self, at: At) -> bool:
        wanted = self._wanted.get(at)
        return wanted is not None and self._led.get(at) not in (None, self._sets[wanted].port)

    def _write(self, places: Iterable[At]) -> None:
        ports = {at: self._sets[self._wanted[at]].port for at in places}
        ports = {at: port for at, port in ports.items() if self._led.get(at) != port}
        self._kernel.write(ports)
        self._led.update(ports)

    def _let_go(self, now: float) -> None:
        """Have proxies remove what nobody uses and nothing leads to; its port rests a while."""
        led = set(self._led.values())
        for digest, held in list(self._sets.items()):
            if not held.places and held.port not in led:
                del self._sets[digest], self._by_port[held.port]
                self._adopted.discard(held.port)
                self._tell(held, removed=True)
                self._ports.release(held.port)
        self._ports.sent()
        self._ports.applied(now)

    def _tell(self, held: Held, removed: bool = False) -> None:
        for listener in self.listeners:
            listener(held, removed)
