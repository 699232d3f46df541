# SPDX-License-Identifier: Apache-2.0
"""Puts rule sets in force: resources to Envoy, Envoy's answers to the agent. Event loop only.

A rule set is in force once Envoy has taken its listener and its routes and the port is open; only
then does the agent have the kernel lead connections there. What cannot be put in force is reported
with the reason, and what was in force before stays so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from cilium_core.proto import proxy_pb2 as pb
from cilium_proxy import probe
from cilium_proxy.errors import RuleError
from cilium_proxy.rules.held import Change
from cilium_proxy.translate import headers, naming
from cilium_proxy.translate.listener import listener
from cilium_proxy.translate.messages import Resource, resource
from cilium_proxy.translate.routes import route_configuration
from cilium_proxy.xds.table import Answer, Table

log = structlog.get_logger(__name__)

KINDS = (pb.HTTP, pb.SNI)
RETRY_SECONDS = 5.0


@dataclass(slots=True)
class _Pending:
    """A rule set on its way; `needs` are the versions that Envoy has not taken yet, by type."""

    rule_set: pb.RuleSet
    needs: dict[str, str]
    opens: bool  # a listener that may not be open yet
    since: float


class Controller:
    """Takes rule sets; `report` tells what became of them."""

    def __init__(
        self,
        table: Table,
        report: Callable[[pb.Result], None],
        log_headers: tuple[str, ...] = (),
        listens: Callable[[int], Awaitable[str]] = probe.listens,
    ) -> None:
        """Answer for this table; `log_headers` are to be in records beside the usual ones."""
        self.refused = 0
        self.on_settled: Callable[[float], None] = lambda _: None
        self._table = table
        self._report = report
        self._log_headers = log_headers
        self._listens = listens
        self._pending: dict[int, _Pending] = {}
        self._retries: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        table.on_answer = self._answered

    @property
    def pending(self) -> int:
        """Return how many rule sets are on their way."""
        return len(self._pending)

    def take(self, change: Change) -> None:
        """Begin to put a change in force."""
        for rule_set in change.removed:
            self._remove(rule_set)
        for rule_set in change.changed:
            self._put(rule_set)
        self._table.ready = True
        self._table.changed()

    def _remove(self, rule_set: pb.RuleSet) -> None:
        self._forget(rule_set.port)
        for type_url in (naming.LISTENER, naming.ROUTES):
            self._table.remove(type_url, naming.resource(rule_set.port))
        self._report(pb.Result(port=rule_set.port, revision=rule_set.revision))

    def _put(self, rule_set: pb.RuleSet) -> None:
        self._forget(rule_set.port)
        try:
            made = self._resources(rule_set)
        except RuleError as error:
            self._refuse(rule_set, str(error))
            return
        self._tell_unknowable(rule_set)
        needs = {}
        for type_url, entry in made.items():
            self._table.put(type_url, entry)
            if not self._table.taken(type_url, entry.name, entry.version):
                needs[type_url] = entry.version
        opens = naming.LISTENER in needs
        pending = _Pending(rule_set, needs, opens, time.monotonic())
        self._pending[rule_set.port] = pending
        self._settle(pending)

    def _resources(self, rule_set: pb.RuleSet) -> dict[str, Resource]:
        name = naming.resource(rule_set.port)
        made = {naming.LISTENER: resource(name, listener(rule_set, self._log_headers))}
        if rule_set.kind == pb.HTTP:
            made[naming.ROUTES] = resource(name, route_configuration(rule_set))
        return made

    def _answered(self, answer: Answer) -> None:
        pending = self._pending.get(naming.port_of(answer.name))
        if pending is None or pending.needs.get(answer.type_url) != answer.version:
            return
        if answer.error:
            del self._pending[pending.rule_set.port]
            self._refuse(pending.rule_set, answer.error)
            if answer.type_url == naming.LISTENER:  # its port may be taken for the moment
                self._later(pending.rule_set)
            return
        del pending.needs[answer.type_url]
        self._settle(pending)

    def _settle(self, pending: _Pending) -> None:
        if pending.needs:
            return
        if pending.opens:
            task = asyncio.ensure_future(self._open(pending))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._finish(pending, "")

    async def _open(self, pending: _Pending) -> None:
        self._finish(pending, await self._listens(pending.rule_set.port))

    def _finish(self, pending: _Pending, error: str) -> None:
        rule_set = pending.rule_set
        if self._pending.get(rule_set.port) is not pending:
            return  # something newer is on its way
        del self._pending[rule_set.port]
        if error:
            self._refuse(rule_set, error)
            self._later(rule_set)
            return
        self.on_settled(time.monotonic() - pending.since)
        log.info("rules in force", name=rule_set.name, port=rule_set.port, rev=rule_set.revision)
        self._report(pb.Result(port=rule_set.port, revision=rule_set.revision))

    def _refuse(self, rule_set: pb.RuleSet, error: str) -> None:
        self.refused += 1
        text = f"rule set {rule_set.name} on port {rule_set.port}: {error}"
        log.warning("rules cannot be put in force", reason=text, rev=rule_set.revision)
        self._report(pb.Result(port=rule_set.port, revision=rule_set.revision, error=text))

    def _later(self, rule_set: pb.RuleSet) -> None:
        """Try again in a while, unless the port has something newer by then."""
        loop = asyncio.get_running_loop()
        self._retries[rule_set.port] = loop.call_later(RETRY_SECONDS, self._again, rule_set)

    def _again(self, rule_set: pb.RuleSet) -> None:
        self._put(rule_set)
        self._table.changed()

    def _forget(self, port: int) -> None:
        self._pending.pop(port, None)
        if retry := self._retries.pop(port, None):
            retry.cancel()

    def _tell_unknowable(self, rule_set: pb.RuleSet) -> None:
        if any(headers.unknowable(rule.http) for rule in rule_set.rules):
            text = "rules that compare headers with Secrets match nothing"
            log.warning(text, name=rule_set.name, port=rule_set.port)
