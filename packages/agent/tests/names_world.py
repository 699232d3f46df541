# SPDX-License-Identifier: Apache-2.0
"""Names over a keeper and maps in memory, and processes that end and begin anew."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

from policy_world import DB, EVIL, WEB, FakeKernel, FakePrefixes, FullMap

from cilium_agent.fqdn.identities import Around, NameIdentities
from cilium_agent.fqdn.journal import Journal
from cilium_agent.fqdn.names import Answer, Names
from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_core.addresses import Address
from cilium_core.fqdn.cache import NameCache
from cilium_core.fqdn.limits import Limits
from cilium_core.identity import is_local_scope
from cilium_core.policy.decide import Verdict, decide
from cilium_core.policy.language import fqdns, prefixes
from cilium_core.policy.rules import Direction

POD = ip_address("10.0.0.7")
FAMILIES = (4, 6)


class FakeRows:
    """Rows of names, which win over those of prefixes. `kernel` outlives a process."""

    def __init__(self, kernel: FakeKernel, rows: dict) -> None:
        self.rows, self._kernel = rows, kernel
        self.refuse = False
        self.writes = 0

    def write(self, numbers) -> None:
        if self.refuse:
            raise FullMap("the ipcache is full")
        self.writes += 1
        for address, number in numbers.items():
            self._kernel.write()
            if number is None:
                self.rows.pop(address, None)
            else:
                self.rows[address] = number
            self._kernel.watch()
        self._kernel.done.append("names")

    def hold(self, numbers) -> None:
        return None


class Prefixes(FakePrefixes):
    """Rows of prefixes below those of names, as one table."""

    def __init__(self, kernel: FakeKernel, names: dict) -> None:
        super().__init__(kernel)
        self._names = names

    def identity(self, inside) -> int:
        own = inside.prefixlen == inside.max_prefixlen
        found = self._names.get(inside.network_address) if own else None
        return super().identity(inside) if found is None else found


class World:
    """One process. `again` is the next one, over the same kernel and the same files."""

    def __init__(self, folder: Path, former: World | None = None, **limits: float) -> None:
        self.folder, self.limits = folder, limits
        self.kernel = former.kernel if former else FakeKernel()
        self.now = former.now if former else 1000.0
        self.rows = FakeRows(self.kernel, former.rows.rows if former else {})
        self.prefixes = Prefixes(self.kernel, self.rows.rows)
        if former:  # the kernel has one row for an address: a name's, where both were said
            under = former.prefixes.rows.items()
            shown = {ip_network(address) for address in self.rows.rows}
            self.prefixes.rows = {prefix: n for prefix, n in under if prefix not in shown}
        labels = PrefixLabels(dual_stack=True)
        cidrs = CidrIdentities(labels)
        self.journal = Journal(folder)
        self.names = Names(
            NameCache(Limits(**limits)),  # type: ignore[arg-type]
            NameIdentities(cidrs.draw, FAMILIES),
            Around(labels),
            self.rows,
            self.journal,
            clock=lambda: self.now,
        )
        self.keeper = PolicyKeeper(self.kernel, self.prefixes, cidrs, None, self.names)
        self.names.flush = self.keeper.flush
        self.names.endpoint_at = {POD: 7, ip_address("10.0.0.8"): 8}.get
        numbers = self.journal.read(self.names.cache)
        rows = {ip_network(a): n for a, n in self.rows.rows.items() if is_local_scope(n)}
        rows |= {p: n for p, n in self.prefixes.rows.items() if p not in rows}
        cidrs.reserve([*numbers, *rows.values()])
        self.keeper.adopt(self.names.adopt(numbers, rows))

    def again(self) -> World:
        return World(self.folder, self, **self.limits)

    def say(self, *policies) -> None:
        self.keeper.set_policies("owner", policies)
        self.keeper.set_names({name for one in policies for name in fqdns(one)})
        self.keeper.set_prefixes({p for one in policies for p in prefixes(one)})

    def start(self, *, restored: bool = False) -> None:
        if restored:
            self.keeper.restore(7, 1001, DB)
            self.keeper.set_identity(1001, DB)
        self.keeper.start({1000: WEB, 1001: DB, 1002: EVIL}.get)
        # What the daemon's prune does: rows that nothing stands for go.
        wanted = self.names._assigned
        for address in [a for a in self.rows.rows if a not in wanted]:
            del self.rows.rows[address]
        if not restored:
            self.keeper.prepare(7, 1001, DB)
        self.keeper.settled(7)
        self.keeper.flush()
        for _ in self.journal.begin(self.names.state):
            pass

    def learn(self, name: str, *addresses: str, ttl: float = 60, client: Address = POD) -> bool:
        found = tuple(ip_address(text) for text in addresses)
        return self.names.learn([Answer(client, name, found, ttl)])[0]

    def identity(self, address: str) -> int:
        return self.prefixes.identity(ip_network(address))

    def verdict(self, address: str, port: int = 443) -> Verdict:
        assigned = self.keeper.assigned(7)
        assert assigned is not None
        return decide(
            self.kernel.tables, assigned.policy, Direction.EGRESS, 6, port, self.identity(address)
        ).verdict
