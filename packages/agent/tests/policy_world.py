# SPDX-License-Identifier: Apache-2.0
"""A keeper over maps in memory: what each write leaves, and processes that end between two."""

from __future__ import annotations

from ipaddress import ip_network

from cilium_agent.policy.cidrs import CidrIdentities
from cilium_agent.policy.feed import PrefixLabels
from cilium_agent.policy.keeper import PolicyKeeper
from cilium_core.errors import CiliumError
from cilium_core.policy.decide import Verdict, decide
from cilium_core.policy.language import parse, prefixes
from cilium_core.policy.plan import apply
from cilium_core.policy.rules import Direction
from cilium_core.policy.tables import Step, Tables

WORLD = 9  # of IPv4, which the row of 0.0.0.0/0 says
POD = {"k8s:io.kubernetes.pod.namespace": "x", "k8s:io.cilium.k8s.policy.cluster": "default"}
WEB, DB, EVIL = ({"k8s:app": name, **POD} for name in ("web", "db", "evil"))
ONLY_WEB = {"fromEndpoints": [{"matchLabels": {"app": "web"}}]}


class FullMap(CiliumError):
    """What a kernel says that has no room."""


class Killed(BaseException):
    """The process ends here."""


class FakeKernel:
    """Maps in memory, and the order of what was done to them.

    `watch` looks at the maps after every single write; `left` writes are made before the end.
    """

    def __init__(self) -> None:
        self.tables = Tables()
        self.bits: dict[int, bytes] = {}
        self.policies: dict[int, bytes] = {}
        self.revised = 0
        self.done: list[str] = []
        self.refuse_at: int | None = None
        self.watch = lambda: None
        self.left: int | None = None

    def write(self) -> None:
        """Call before every single write."""
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1

    def copy(self) -> Tables:
        return Tables(dict(self.tables.rows), dict(self.tables.bits))

    def records(self):
        return dict(self.bits), dict(self.policies)

    def revision(self) -> int:
        return self.revised

    def record(self, bits, policies) -> None:
        for held, changed in ((self.bits, bits), (self.policies, policies)):
            for number, content in changed.items():
                self.write()
                if content is None:
                    held.pop(number, None)
                else:
                    held[number] = content
            if changed:
                self.done.append("record")

    def apply(self, steps) -> None:
        for number, step in enumerate(steps):
            if number == self.refuse_at:
                raise FullMap("the map is full")
            for key, row in step.rows.items():
                self.write()
                apply(self.tables, Step(rows={key: row}))
                self.watch()
            for at, mask in step.bits.items():
                self.write()
                apply(self.tables, Step(bits={at: mask}))
                self.watch()
            self.done.append("rows" if step.rows else "bits")

    def set_revision(self, revision: int) -> None:
        self.write()
        self.revised = revision
        self.done.append("revision")
        self.watch()


class FakePrefixes:
    def __init__(self, kernel: FakeKernel) -> None:
        self.rows: dict = {}
        self.refuse = False
        self._kernel = kernel

    def identities(self, prefixes):
        return {prefix: self.identity(prefix) for prefix in prefixes}

    def identity(self, inside) -> int:
        around = [p for p in self.rows if p.version == inside.version and inside.subnet_of(p)]
        best = max(around, key=lambda p: p.prefixlen, default=None)
        return self.rows[best] if best is not None else WORLD

    def show(self, numbers) -> None:
        if self.refuse:
            raise FullMap("the ipcache is full")
        for prefix in sorted(numbers, key=lambda p: -p.prefixlen):
            self._kernel.write()
            self.rows[prefix] = numbers[prefix]
            self._kernel.watch()
        self._kernel.done += ["show"] if numbers else []

    def hide(self, gone) -> None:
        for prefix in gone:
            self._kernel.write()
            del self.rows[prefix]
            self._kernel.watch()
        self._kernel.done.append("hide")


def policy(spec: dict, name: str = "p") -> list:
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "x"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "db"}}, **spec},
    }
    return parse(body, "default")


class World:
    """A keeper over a fake kernel; `again` is the next process over the same kernel."""

    def __init__(self, kernel: FakeKernel | None = None, rows: dict | None = None) -> None:
        self.kernel = kernel or FakeKernel()
        self.prefixes = FakePrefixes(self.kernel)
        self.prefixes.rows = dict(rows or {})
        labels = PrefixLabels(dual_stack=True)
        self.keeper = PolicyKeeper(self.kernel, self.prefixes, CidrIdentities(labels))
        self.keeper.adopt(self.prefixes.rows)

    def say(self, *policies) -> None:
        self.keeper.set_policies("owner", policies)
        self.keeper.set_prefixes({p for one in policies for p in prefixes(one)})

    def start(self) -> None:
        self.keeper.start({1000: WEB, 1001: DB, 1002: EVIL}.get)

    def again(self) -> World:
        return World(self.kernel, self.prefixes.rows)

    def verdict(self, identity: int, port: int = 80, direction=Direction.INGRESS) -> Verdict:
        assigned = self.keeper.assigned(7)
        assert assigned is not None
        found = decide(self.kernel.tables, assigned.policy, direction, 6, port, identity)
        return found.verdict

    def verdict_of(self, address: str) -> Verdict:
        """What the pod's packet to an address outside meets, by the ipcache's longest prefix."""
        identity = self.prefixes.identity(ip_network(address))
        return self.verdict(identity, direction=Direction.EGRESS)


def outside(*elements: dict) -> list:
    return policy({"egress": [{"toCIDRSet": list(elements)}]})


def restarted(world: World, *policies) -> World:
    """The next process, before it starts, that finds these policies."""
    after = world.again()
    after.keeper.restore(7, 1001, DB)
    for number, labels in ((1000, WEB), (1002, EVIL)):
        after.keeper.set_identity(number, labels)
    after.say(*policies)
    return after
