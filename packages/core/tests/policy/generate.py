# SPDX-License-Identifier: Apache-2.0
"""Random small clusters: few labels and ports, so that everything meets everything.

All is drawn from a `random.Random`, so a seed names a case, and a case costs microseconds.
"""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st

from cilium_core.policy.rules import (
    Direction,
    L7Kind,
    L7Rules,
    Operator,
    Origin,
    PeerSet,
    Policy,
    PortRange,
    Protocol,
    Requirement,
    Rule,
    Selector,
)

NAMED = "k8s:io.cilium.k8s.named-ports"
NAMED_TEXTS = ["http=80/TCP", "dns=53/UDP,http=81/TCP", "http=80/TCP,http=80/UDP", "dns=53/TCP"]
PORTS = [0, 1, 52, 53, 54, 79, 80, 81, 82, 443, 1023, 1024, 32768, 65534, 65535]
IDENTITIES = [1, 2, 256, 257, 258, 16777217]
PROTOCOLS = [1, 2, 6, 17, 47, 58, 132]
SUBJECTS = ["one", "two", "node"]
KEYS = ["k8s:app", "k8s:app", "any:app", "container:app", "k8s:ns", "reserved:world"]


class Case(Random):
    """A source of chance that says its seed."""

    def __init__(self, seed):
        super().__init__(seed)
        self.seed_ = seed

    def __repr__(self):
        return f"Case({self.seed_})"


CASES = st.integers(0, 2**32 - 1).map(Case)


def examples(share):
    """Return settings with a share of the profile's number of examples."""
    return settings(max_examples=max(1, int(settings.default.max_examples * share)))


def labels(rng):
    pool = {
        "k8s:app": ["a", "b", "c"],
        "container:app": ["a", "b"],
        "k8s:ns": ["x", "y"],
        "reserved:world": [""],
        NAMED: NAMED_TEXTS,
    }
    return {key: rng.choice(values) for key, values in pool.items() if rng.random() < 0.5}


def own_ports(rng):
    return {
        name: frozenset((rng.choice([6, 17]), rng.choice([53, 80])) for _ in range(2))
        for name in ("http", "dns")
        if rng.random() < 0.5
    }


def requirement(rng, key):
    operator = rng.choice([*Operator, Operator.IN, Operator.IN])
    if operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
        return Requirement(key, operator)
    values = rng.sample(["a", "b", "c", "x", ""], rng.randint(0, 3))
    return Requirement(key, operator, tuple(sorted(values)))


def selector(rng, most=2):
    keys = sorted({rng.choice(KEYS) for _ in range(rng.randint(0, most))})
    return Selector(tuple(requirement(rng, key) for key in keys))


def port_range(rng):
    protocol = rng.choice([*Protocol, Protocol.TCP, Protocol.TCP, Protocol.UDP])
    if protocol in (Protocol.ICMP, Protocol.ICMPV6):
        kind = rng.choice([0, 3, 8, 128])
        return PortRange(protocol, kind, kind)
    if protocol in (Protocol.IGMP, Protocol.VRRP):
        return PortRange(protocol)
    if rng.random() < 0.3:
        return PortRange(protocol, name=rng.choice(["http", "dns", "nobody"]))
    first, last = sorted(rng.choices(PORTS, k=2))
    return PortRange(protocol, first, rng.choice([first, last]))


def rule(rng, origin):
    peers = None
    if rng.random() < 0.8:
        peers = PeerSet(frozenset(selector(rng) for _ in range(rng.randint(0, 2))))
    ports = frozenset(port_range(rng) for _ in range(rng.choice([0, 1, 1, 2, 3])))
    kind = rng.choice(["allow", "allow", "deny", "l7"])
    l7 = L7Rules(L7Kind.HTTP, frozenset({rng.choice([(("path", "/x"),), ()])}))
    return Rule(
        direction=rng.choice(list(Direction)),
        deny=kind == "deny",
        peers=peers,
        ports=ports,
        l7=l7 if kind == "l7" and ports else None,
        origin=origin,
    )


def policy(rng):
    origin = Origin("CiliumNetworkPolicy", "x", "p", f"spec{rng.randint(0, 9)}")
    return Policy(
        origin=origin,
        subject=selector(rng, most=1),
        default_deny=frozenset(d for d in Direction if rng.random() < 0.6),
        rules=tuple(rule(rng, origin) for _ in range(rng.randint(0, 4))),
        on_nodes=rng.random() < 0.2,
    )


class Cluster:
    """What an engine was told, to tell another one at once."""

    def __init__(self):
        self.identities, self.subjects, self.policies = {}, {}, {}

    @classmethod
    def random(cls, rng):
        """Return a cluster with some of everything."""
        cluster = cls()
        for number in rng.sample(IDENTITIES, rng.randint(0, len(IDENTITIES))):
            cluster.identities[number] = labels(rng)
        for key in rng.sample(SUBJECTS, rng.randint(1, len(SUBJECTS))):
            cluster.subjects[key] = (labels(rng), own_ports(rng))
        for owner in range(rng.randint(0, 4)):
            cluster.policies[owner] = [policy(rng) for _ in range(rng.randint(0, 2))]
        return cluster

    def change(self, rng, engine):
        """Change one thing, here and in the engine."""
        what = rng.choice(
            ["identity", "identity", "no identity", "subject", "no subject"] + ["p"] * 3
        )
        if what == "identity":
            number = rng.choice(IDENTITIES)
            self.identities[number] = labels(rng)
            engine.set_identity(number, self.identities[number])
        elif what == "no identity":
            number = rng.choice(IDENTITIES)
            self.identities.pop(number, None)
            engine.remove_identity(number)
        elif what == "subject":
            key = rng.choice(SUBJECTS)
            self.subjects[key] = (labels(rng), own_ports(rng))
            engine.set_subject(key, *self.subjects[key], on_node=key == "node")
        elif what == "no subject":
            key = rng.choice(SUBJECTS)
            self.subjects.pop(key, None)
            engine.remove_subject(key)
        else:
            owner = rng.randint(0, 3)
            self.policies[owner] = [policy(rng) for _ in range(rng.randint(0, 2))]
            engine.set_policies(owner, self.policies[owner])

    @property
    def all_policies(self):
        """Return every policy of every owner."""
        return [found for several in self.policies.values() for found in several]

    def tell(self, engine, rng=None):
        """Tell an engine everything, in an order that `rng` chooses."""
        calls = [
            *((engine.set_identity, (n, found), {}) for n, found in self.identities.items()),
            *(
                (engine.set_subject, (key, *found), {"on_node": key == "node"})
                for key, found in self.subjects.items()
            ),
            *((engine.set_policies, pair, {}) for pair in self.policies.items()),
        ]
        if rng is not None:
            rng.shuffle(calls)
        for call, arguments, more in calls:
            call(*arguments, **more)


def packets():
    """Yield (direction, protocol, port) at every place where a verdict can change."""
    for direction in Direction:
        for protocol in PROTOCOLS:
            if protocol in (6, 17):
                ports = PORTS
            elif protocol in (1, 58):
                ports = [0, 3, 8, 128, 255]
            else:
                ports = [0] if protocol != 132 else [0, 80]
            for port in ports:
                yield direction, protocol, port
