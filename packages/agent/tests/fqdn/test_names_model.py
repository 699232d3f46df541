# SPDX-License-Identifier: Apache-2.0
"""Names against a slow model: what the kernel decides is what policies and names say, always.

The model reads the policies' selectors itself, keeps no derived state and no numbers. Answers,
ends, walks, policies, refusals of the kernel and restarts come in any order. After each single
write nothing is open that neither the state before nor the state after opens.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from ipaddress import ip_address, ip_network
from pathlib import Path

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from names_world import World
from policy_world import FullMap, policy

from cilium_core.policy.decide import Verdict

ADDRESSES = ["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"]
NAMES = ["a.test", "b.test", "www.a.test", "other"]
EXPRESSIONS = {
    "a.test": r"a\.test",
    "*.test": r"[a-z]*\.test",
    "**.test": r"([a-z]+\.)+test",
    "other": "other",
}
PREFIXES = ["192.0.2.0/24", "192.0.2.8/29", "198.51.100.1/32", "2001:db8::/32"]
PORTS = (443, 80)

Rules = list[tuple[str, str, int, bool]]  # kind, text, port, deny

rules = st.lists(
    st.one_of(
        st.tuples(
            st.just("name"), st.sampled_from(sorted(EXPRESSIONS)), st.sampled_from(PORTS),
            st.just(False),
        ),
        st.tuples(
            st.just("prefix"), st.sampled_from(PREFIXES), st.sampled_from(PORTS), st.booleans()
        ),
    ),
    max_size=4,
)  # fmt: skip


def objects(wanted: Rules) -> list:
    spec: dict = {"egress": [{}], "egressDeny": []}
    for kind, text, port, deny in wanted:
        ports = {"toPorts": [{"ports": [{"port": str(port), "protocol": "TCP"}]}]}
        if kind == "prefix":
            spec["egressDeny" if deny else "egress"].append({"toCIDR": [text], **ports})
        else:
            key = "matchPattern" if "*" in text else "matchName"
            spec["egress"].append({"toFQDNs": [{key: text}], **ports})
    return policy({**spec, "enableDefaultDeny": {"egress": True}})


class Machine(RuleBasedStateMachine):
    """The world, and what the pods were told."""

    @initialize(wanted=rules)
    def begin(self, wanted: Rules) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.rules = self.former = wanted
        self.world.say(*objects(wanted))
        self.world.start()
        self.stale = False  # the kernel has refused something

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.journal.close()
            shutil.rmtree(self.folder)

    def selects(self, text: str, address: str) -> bool:
        found = self.world.names.cache.endpoints.values()
        return any(
            str(held) == address and re.fullmatch(EXPRESSIONS[text], name)
            for names in found
            for name, held in names.pairs()
        )

    def opened(self, wanted: Rules) -> set[tuple[str, int]]:
        opened = set()
        for address in ADDRESSES:
            for port in PORTS:
                hits = [
                    deny
                    for kind, text, on, deny in wanted
                    if on == port
                    and (
                        self.selects(text, address)
                        if kind == "name"
                        else ip_address(address) in ip_network(text)
                    )
                ]
                if hits and not any(hits):
                    opened.add((address, port))
        return opened

    def in_kernel(self) -> set[tuple[str, int]]:
        return {
            (address, port)
            for address in ADDRESSES
            for port in PORTS
            if self.world.verdict(address, port) is Verdict.ALLOW
        }

    def watched(self, action, after: set[tuple[str, int]] | None = None) -> None:
        """Do something; nothing is open in between that is open neither before nor after."""
        before, seen = self.in_kernel() | self.opened(self.former), []
        self.world.kernel.watch = lambda: seen.append(self.in_kernel())
        try:
            action()
        except FullMap:
            self.stale = True
        finally:
            self.world.kernel.watch = lambda: None
        wanted = self.opened(self.rules) if after is None else after
        for state in seen:
            assert state <= before | wanted

    @rule(
        name=st.sampled_from(NAMES),
        addresses=st.sets(st.sampled_from(ADDRESSES), min_size=1),
        ttl=st.integers(0, 12),
        refused=st.sampled_from(["", "", "", "rows", "bits"]),
    )
    def learn(self, name: str, addresses: set[str], ttl: int, refused: str) -> None:
        self.refuse(refused)
        self.watched(lambda: self.world.learn(name, *sorted(addresses), ttl=ttl))
        self.refuse("")

    def refuse(self, what: str) -> None:
        self.world.rows.refuse = what == "rows"
        self.world.kernel.refuse_at = 0 if what == "bits" else None

    @rule(seconds=st.integers(1, 6))
    def end(self, seconds: int) -> None:
        self.world.now += seconds
        self.watched(self.world.names.end)
        self.stale = False

    @rule(met=st.sets(st.sampled_from(ADDRESSES)))
    def walk(self, met: set[str]) -> None:
        found = {7: list(map(ip_address, sorted(met)))}
        self.watched(lambda: self.world.names.walked(self.world.now, found))
        self.stale = False

    @rule(wanted=rules, refused=st.sampled_from(["", "", "rows", "bits"]))
    def change(self, wanted: Rules, refused: str) -> None:
        self.rules = wanted
        self.world.say(*objects(wanted))
        self.refuse(refused)
        self.watched(self.world.keeper.flush)
        self.refuse("")
        if self.stale:
            self.watched(self.world.keeper.flush)
            self.world.names.end()
            self.stale = False
        self.former = self.rules  # a refused flush left the kernel with what was there

    @rule(wanted=st.one_of(st.none(), rules))
    def restart(self, wanted: Rules | None) -> None:
        before, numbers = self.in_kernel(), dict(self.world.rows.rows)
        self.former = self.rules = self.rules if wanted is None else wanted
        self.world.journal.close()
        self.world = self.world.again()
        self.world.say(*objects(self.rules))
        self.world.start(restored=True)
        late, self.stale = self.stale, False
        if wanted is None:
            assert self.in_kernel() >= before & self.opened(self.rules)
        if wanted is None and not late:  # what was refused is made up for, and so has new labels
            rows = self.world.rows.rows
            kept = {a: n for a, n in numbers.items() if a in rows}
            assert {a: rows[a] for a in kept} == kept

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "world"):
            return
        wanted = self.opened(self.rules)
        if self.stale:
            assert self.in_kernel() - wanted == set() or self.world.names._pending
        else:
            assert self.in_kernel() == wanted
            identities = set(self.world.rows.rows.values())
            assert identities <= self.world.keeper.local_labels().keys()


TestNames = Machine.TestCase
