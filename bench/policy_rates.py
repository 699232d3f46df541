# SPDX-License-Identifier: Apache-2.0
"""Connect rates between two namespaces under so many rules: ours, iptables, an nft set.

The rivals are routed veth pairs, each with its rules in the router's forward hook: established
connections first, then the rules, the load's own last (iptables reads them in order; a set has no
order), and everything else dropped.
`iptables` is the system's: the nf_tables flavour on Debian. Rounds are interleaved; client on
CPU 0, server on CPU 1.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.datapath import build_tool, load, server
from bench.datapath_node import POD_V4, ROUTED_V4, Bench, Namespace, routed_pair
from bench.policy_rules import Switch, of_one_endpoint, ports
from bench.report import Result, bound, ratio

COUNTS = (10, 1000, 10_000)
ROUNDS = int(os.environ.get("BENCH_CRR_ROUNDS", "8"))


def measure(bench: Bench, switch: Switch, folder: Path) -> list[Result]:
    """Return the rates of all, and ours as a ratio to the others' of as many rules."""
    tool = build_tool(folder)
    with ExitStack() as undo:
        undo.enter_context(server(bench.pods[1], tool))
        clients: dict[tuple[str, int], Namespace] = {}
        for name, setup in RIVALS.items():
            for count in COUNTS if name != PLAIN else (0,):
                clients[name, count] = undo.enter_context(_rival(setup, count, tool))
        return _judge(_rounds(bench, switch, clients, tool))


@contextmanager
def _rival(setup: Callable[[Namespace, int], None], count: int, tool: Path) -> Iterator[Namespace]:
    left, router, right = (Namespace() for _ in range(3))
    routed_pair(left, router, right)
    setup(router, count)
    with server(right, tool):
        yield left
    for namespace in (left, router, right):
        os.close(namespace.fd)


def _rounds(
    bench: Bench, switch: Switch, clients: Mapping[tuple[str, int], Namespace], tool: Path
) -> dict[tuple[str, int], list[float]]:
    rates: dict[tuple[str, int], list[float]] = {}
    for number in range(ROUNDS):
        order = [*(("ours", count) for count in COUNTS), *clients]
        for path in order if number % 2 else reversed(order):
            name, count = path
            if name == "ours":
                switch.to(of_one_endpoint(count))
                rate = load(bench.pods[0], tool, "crr", POD_V4[1])
            else:
                rate = load(clients[path], tool, "crr", ROUTED_V4[1])
            rates.setdefault(path, []).append(rate)
    return rates


def _judge(rates: Mapping[tuple[str, int], list[float]]) -> list[Result]:
    found = []
    for (name, count), samples in rates.items():
        rules = f"{name}, {count} rules" if count else name
        result = bound(f"TCP_CRR, {rules}", samples, "connections/s")
        result.better = "higher"
        found.append(result)
    for count in COUNTS:
        for name in (IPTABLES, NFT, PLAIN):
            baseline = rates[name, 0 if name == PLAIN else count]
            found.append(_beside(rates["ours", count], baseline, count, name))
    few, many = rates["ours", COUNTS[0]], rates["ours", COUNTS[-1]]
    found.append(_beside(many, few, COUNTS[-1], f"ours, {COUNTS[0]} rules"))
    return found


def _beside(ours: list[float], baseline: list[float], count: int, name: str) -> Result:
    note = f"median {statistics.median(ours):.4g}/s"
    result = ratio(f"TCP_CRR, ours at {count} rules beside {name}", ours, baseline, name, 0.0, note)
    result.target = result.met = None
    return result


def _iptables(router: Namespace, count: int) -> None:
    first = "-m conntrack --ctstate ESTABLISHED,RELATED"
    lines = ["*filter", ":FORWARD DROP [0:0]", f"-A FORWARD {first} -j ACCEPT"]
    for port in reversed(ports(count)):
        lines.append(f"-A FORWARD -s {ROUTED_V4[0]} -p tcp -m tcp --dport {port} -j ACCEPT")
    _feed(router, ["iptables-restore"], [*lines, "COMMIT"])


def _nft(router: Namespace, count: int) -> None:
    elements = ", ".join(f"{ROUTED_V4[0]} . {port}" for port in ports(count))
    lines = [
        "table ip bench {",
        f"set allowed {{ type ipv4_addr . inet_service; elements = {{ {elements} }}; }}",
        "chain forward {",
        "type filter hook forward priority 0; policy drop;",
        "ct state established,related accept",
        "ip saddr . tcp dport @allowed accept",
        "}",
        "}",
    ]
    _feed(router, ["nft", "-f", "-"], lines)


def _nothing(_router: Namespace, _count: int) -> None:
    """Leave the router as it is."""


def _feed(router: Namespace, command: list[str], lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    subprocess.run([*router.enter, *command], input=text, check=True, text=True)


IPTABLES, NFT, PLAIN = "iptables", "an nft set", "routed veth without rules"
RIVALS: Mapping[str, Callable[[Namespace, int], None]] = {
    IPTABLES: _iptables,
    NFT: _nft,
    PLAIN: _nothing,
}
