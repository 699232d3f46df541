# SPDX-License-Identifier: Apache-2.0
"""Every write of every batch, by processes that end after any of them, opens nothing on the way.

Rows, bits, records, prefixes in the ipcache and the revision are written one by one. After each,
every probe (an address outside or a peer's identity, and a port) may pass only if it may before
the batch or after it, as a first packet and as one of a connection that was made on the way. Where
a batch ends, what is in force is what a process would write that begins with nothing.
"""

from __future__ import annotations

from ipaddress import ip_network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import DB, EVIL, WEB, Killed, World, policy

from cilium_core.policy.decide import Verdict, decide
from cilium_core.policy.rules import Direction

NETWORKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32")
ADDRESSES = ("192.0.2.1", "10.9.9.9", "10.1.9.9", "10.1.2.9", "10.1.2.3")
PEERS = (1000, 1002, 1005)
LABELS = (WEB, EVIL, {**WEB, "k8s:tier": "x"}, {**EVIL, "k8s:tier": "x"})
PORTS = (80, 443)
PROBES = [(Direction.EGRESS, a, p) for a in ADDRESSES for p in PORTS]
PROBES += [(d, n, p) for d in Direction for n in PEERS for p in PORTS]
FEWEST = max(20, settings.default.max_examples // 2)


def peers(rng: Random, way: str) -> dict:
    """Return the peers of one rule, in the words of a policy."""
    kind = rng.choice(("all", "labels", "labels", "labels", "cidr", "cidr", "cidr", "entity"))
    if kind == "all":
        return {}
    if kind == "labels":
        wanted = rng.choice(({"app": "web"}, {"app": "evil"}, {"tier": "x"}))
        return {f"{way}Endpoints": [{"matchLabels": wanted}]}
    if kind == "entity":
        return {f"{way}Entities": [rng.choice(("world", "all", "cluster"))]}
    wide, *inside = sorted(rng.sample(range(len(NETWORKS)), rng.choice((1, 2, 2, 3))))
    element: dict = {"cidr": NETWORKS[wide]}
    if inside:
        element["except"] = [NETWORKS[n] for n in inside]
    return {f"{way}CIDRSet": [element]}


def spec(rng: Random) -> dict:
    made: dict = {}
    for direction, way in (("ingress", "from"), ("egress", "to")):
        for name in (direction, f"{direction}Deny"):
            if rng.random() < (0.6 if name == direction else 0.25):
                rule = peers(rng, way)
                if rng.random() < 0.4:
                    ports = [{"port": str(rng.choice(PORTS)), "protocol": "TCP"}]
                    rule["toPorts"] = [{"ports": ports}]
                made[name] = [rule]
        if direction in made and rng.random() < 0.2:
            made.setdefault("enableDefaultDeny", {})[direction] = False
    return made or {"ingress": [{}]}


class Story:
    """One node's life: the processes of its agent, and the connections of one pod."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.said: dict[str, list] = {}
        self.identities = {1000: WEB, 1002: EVIL}
        self.made: dict[tuple, tuple[int, int]] = {}  # probe to revision and peer's identity
        self.world = World()
        self.tell(self.world)
        self.world.keeper.restore(7, 1001, DB)
        self.go(self.world)

    def tell(self, world: World) -> None:
        for number, labels in self.identities.items():
            world.keeper.set_identity(number, labels)
        world.say(*(made for several in self.said.values() for made in several))

    def go(self, world: World) -> None:
        """Start a process, as the daemon does."""
        world.start()
        assigned = world.keeper.assigned(7)
        assert assigned is not None
        world.kernel.write()
        world.kernel.revised = assigned.revision
        world.kernel.watch()
        world.keeper.settled(7)
        world.keeper.flush()

    def change(self) -> None:
        """Let something happen outside, which the present process is not told yet."""
        if self.rng.random() < 0.3:
            number = self.rng.choice(PEERS)
            labels = self.rng.choice((None, *LABELS))
            if labels is None:
                self.identities.pop(number, None)
            else:
                self.identities[number] = labels
            return
        name = self.rng.choice("abc")
        self.said[name] = policy(spec(self.rng), name) if self.rng.random() < 0.8 else []

    def hear(self) -> None:
        """Tell the present process all of it."""
        for number in PEERS:
            self.world.keeper.set_identity(number, self.identities.get(number))
        self.tell(self.world)

    def identity(self, world: World, peer: int | str) -> int:
        return peer if isinstance(peer, int) else world.prefixes.identity(ip_network(peer))

    def judge(self, world: World, probe: tuple) -> Verdict:
        direction, peer, port = probe
        assigned = world.keeper.assigned(7)
        assert assigned is not None
        identity = self.identity(world, peer)
        return decide(world.kernel.tables, assigned.policy, direction, 6, port, identity).verdict

    def verdicts(self, world: World) -> dict[tuple, Verdict]:
        return {probe: self.judge(world, probe) for probe in PROBES}

    def passes(self, probe: tuple) -> bool:
        """Send a packet of the probe's connection, the first or another one."""
        now = self.world.kernel.revised, self.identity(self.world, probe[1])
        if self.made.get(probe) == now:
            return True
        self.made.pop(probe, None)
        if self.judge(self.world, probe) is Verdict.ALLOW:
            self.made[probe] = now
            return True
        return False

    def batch(self) -> None:
        """Carry out what happened; perhaps by several processes, each ending after some writes."""
        fresh = World()
        self.tell(fresh)
        fresh.keeper.restore(7, 1001, DB)
        self.go(fresh)
        wanted = self.verdicts(fresh)
        kernel = self.world.kernel
        restart = self.rng.random() < 0.4
        lives = self.rng.choice((None, None, self.rng.randint(0, 12), self.rng.randint(0, 40)))
        for _ in range(30):
            before = self.verdicts(self.world)
            held = {probe for probe in PROBES if self.passes(probe)}

            def look(before=before, held=held) -> None:
                for probe, found in self.verdicts(self.world).items():
                    allowed = before[probe], wanted[probe]
                    assert found is not Verdict.ALLOW or Verdict.ALLOW in allowed, probe
                    if self.rng.random() < 0.3 and self.passes(probe):
                        assert Verdict.ALLOW in allowed or probe in held, probe

            kernel.watch, kernel.left = look, lives
            try:
                if restart:
                    self.world = self.world.again()
                    self.tell(self.world)
                    self.world.keeper.restore(7, 1001, DB)
                    self.go(self.world)
                else:
                    self.hear()
                    self.world.keeper.flush()
                break
            except Killed:
                restart = True
                lives = None if lives is None or self.rng.random() < 0.3 else lives + 1
        kernel.watch, kernel.left = (lambda: None), None
        assert self.verdicts(self.world) == wanted
        assert {probe: self.passes(probe) for probe in PROBES} == {
            probe: verdict is Verdict.ALLOW for probe, verdict in wanted.items()
        }


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=FEWEST)
def test_nothing_opens_on_the_way(seed: int) -> None:
    rng = Random(seed)
    story = Story(rng)
    for _ in range(6):
        for _ in range(rng.randint(1, 3)):
            story.change()
        story.batch()
