# SPDX-License-Identifier: Apache-2.0
"""Three network namespaces: a client, a node with the DNS proxy, a server; made and taken away.

The node leads the client's questions to the proxy as the kernel programs of the agent do: a mark,
a local route, a socket that is assigned; here nftables does it. The server's answers to the
proxy's sockets are recognised by the sockets. Namespaces are left behind by nothing but kill -9.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLIENT = {4: "10.77.1.2", 6: "fd77:1::2"}
SERVER = {4: "10.77.2.2", 6: "fd77:2::2"}
STRANGER = "10.77.2.3"
MARK, TABLE = 0x200, 77

RULES = """
table inet lead {{
  chain prerouting {{
    type filter hook prerouting priority mangle; policy accept;
    iifname "server" socket transparent 1 meta mark set {mark} accept
    iifname "client" meta l4proto {{ tcp, udp }} th dport 53 jump led
  }}
  chain led {{
    meta l4proto {{ tcp, udp }} tproxy ip to 127.0.0.1:{port} meta mark set {mark} accept
    meta l4proto {{ tcp, udp }} tproxy ip6 to [::1]:{port} meta mark set {mark} accept
    drop
  }}
}}
"""


def run(*words: str, text: str | None = None) -> str:
    """Run a command; its output goes into the error when it fails."""
    done = subprocess.run(words, input=text, text=True, capture_output=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Lab:
    """The names of the three namespaces."""

    client: str
    node: str
    server: str

    def lead_to(self, port: int) -> None:
        """Lead port 53 of what the client sends to the proxy's port."""
        self.lead_nowhere()
        rules = RULES.format(port=port, mark=MARK)
        run("ip", "netns", "exec", self.node, "nft", "-f", "-", text=rules)

    def lead_nowhere(self) -> None:
        """Let the client reach the server directly."""
        words = "table inet lead {}; delete table inet lead"
        run("ip", "netns", "exec", self.node, "nft", words)

    def socket(self, place: str, version: int, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """Return a socket of a namespace."""
        family = {4: socket.AF_INET, 6: socket.AF_INET6}[version]
        return inside(place, lambda: socket.socket(family, kind))


def inside(place: str, function: Callable[[], T]) -> T:
    """Run a function in a thread that has entered a namespace; sockets made there stay there."""
    results: list[T] = []

    def work() -> None:
        handle = os.open(f"/run/netns/{place}", os.O_RDONLY)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.setns(handle, 0x40000000) == 0, os.strerror(ctypes.get_errno())
        os.close(handle)
        results.append(function())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]


@contextmanager
def lab() -> Iterator[Lab]:
    """Make the namespaces and connect them."""
    mine = Lab(*(f"dnslab{os.getpid()}-{place}" for place in ("client", "node", "server")))
    places = (mine.client, mine.node, mine.server)
    try:
        for place in places:
            run("ip", "netns", "add", place)
            run("ip", "-n", place, "link", "set", "lo", "up")
        _connect(mine, mine.client, "client", 1)
        _connect(mine, mine.server, "server", 2)
        run("ip", "-n", mine.server, "address", "add", f"{STRANGER}/24", "dev", "eth0")
        _node(mine.node)
        yield mine
    finally:
        for place in places:
            subprocess.run(["ip", "netns", "delete", place], capture_output=True)


def _connect(mine: Lab, place: str, link: str, subnet: int) -> None:
    peer = ["peer", "name", "eth0", "netns", place]
    run("ip", "-n", mine.node, "link", "add", link, "type", "veth", *peer)
    for version, prefix, length in ((4, f"10.77.{subnet}.", 24), (6, f"fd77:{subnet}::", 64)):
        flags = ["nodad"] if version == 6 else []
        for where, number, device in ((mine.node, 1, link), (place, 2, "eth0")):
            address = f"{prefix}{number}/{length}"
            run("ip", "-n", where, "address", "add", address, "dev", device, *flags)
            run("ip", "-n", where, "link", "set", device, "up")
        run("ip", "-n", place, f"-{version}", "route", "add", "default", "via", f"{prefix}1")


def _node(node: str) -> None:
    settings = {
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.client.rp_filter": "0",
        "net.ipv4.conf.server.rp_filter": "0",
        "net.ipv4.conf.client.route_localnet": "1",
        "net.ipv4.ip_local_port_range": "32768 65535",
    }
    for key, value in settings.items():
        run("ip", "netns", "exec", node, "sysctl", "-qw", f"{key}={value}")
    for version in ("-4", "-6"):
        rule = ["rule", "add", "fwmark", hex(MARK), "lookup", str(TABLE)]
        run("ip", "-n", node, version, *rule)
        route = ["route", "add", "local", "default", "dev", "lo", "table", str(TABLE)]
        run("ip", "-n", node, version, *route)


class Proxy:
    """The real process on the node."""

    def __init__(self, node: str, state: Path, **settings: str) -> None:
        """Start it; `settings` are keys with `_` for `-`."""
        config = state / "config"
        config.mkdir(exist_ok=True)
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
        self.log = (state / "proxy.log").open("ab")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node, "setpriv", "--bounding-set=-all,+net_admin,+net_raw",
             sys.executable, "-m", "cilium_proxy.main", "dns",
             f"--config-dir={config}", f"--state-dir={state}", *flags],
            stderr=self.log,
        )  # fmt: skip

    def end(self) -> int:
        """Ask it to end; return its exit status."""
        self.process.terminate()
        return self.process.wait(10)

    def kill(self) -> None:
        """End it as an out-of-memory killer does."""
        self.process.kill()
        self.process.wait(10)
