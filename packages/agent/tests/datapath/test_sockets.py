# SPDX-License-Identifier: Apache-2.0
"""The socket hooks on a cgroup of this test's own, seen from inside real sockets."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cilium_agent.datapath.attach import Attachments

pytestmark = pytest.mark.root

FAMILIES = {4: "127.0.0.1", 6: "::1"}

CLIENT = """
import json, socket, sys
vip, port, kind, connect = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1"
family = socket.AF_INET6 if ":" in vip else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(5)
out = {}
try:
    if connect:
        s.connect((vip, port))
        out["peer"] = s.getpeername()[:2]
        s.send(b"hello")
        out["answer"] = s.recv(100).decode()
    else:
        s.sendto(b"hello", (vip, port))
        data, source = s.recvfrom(100)
        out["answer"], out["from"] = data.decode(), source[:2]
except OSError as error:
    out["errno"] = error.errno
print(json.dumps(out))
"""

SERVER = """
import selectors, socket, sys
names = sys.argv[1:]
box = selectors.DefaultSelector()
for name in names:
    kind, address, port = name.split(",")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, int(port)))
    if kind == "tcp":
        s.listen()
    box.register(s, selectors.EVENT_READ, (kind, name.encode()))
print("ready", flush=True)
while True:
    for key, _ in box.select():
        kind, name = key.data
        if kind == "tcp":
            c, _ = key.fileobj.accept()
            c.recv(100)
            c.sendall(name)
            c.close()
        else:
            _, source = key.fileobj.recvfrom(100)
            key.fileobj.sendto(name, source)
"""


def cgroup2_root() -> Path:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(words[1]) for words in mounts if words[2] == "cgroup2")


@pytest.fixture(scope="module")
def cgroup(loaded, bpffs: Path) -> Iterator[Path]:
    path = cgroup2_root() / f"cpy-datapath-{os.getpid()}"
    path.mkdir()
    attachments = Attachments(loaded.programs, bpffs / "sockets")
    attachments.attach_cgroup(path)
    attachments.attach_cgroup(path)  # again is harmless
    yield path
    attachments.detach_cgroup()
    assert list((bpffs / "sockets" / "links").iterdir()) == []
    path.rmdir()


@pytest.fixture(scope="module")
def servers(loaded) -> Iterator[None]:
    names = [
        f"{kind},{address},{port}"
        for kind in ("tcp", "udp")
        for address in FAMILIES.values()
        for port in (7001, 7002)
    ]
    process = subprocess.Popen(
        ["nsenter", f"--net={loaded.namespace.path}", sys.executable, "-c", SERVER, *names],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield
    process.kill()
    process.wait()
    process.stdout.close()


def ask(kernel, cgroup: Path, vip: str, port: int, kind: str, connect: bool = True) -> dict:
    """Run a client inside the cgroup; what it saw."""
    enter = f'echo $$ > {cgroup}/cgroup.procs; exec "$@"'
    done = subprocess.run(
        ["nsenter", f"--net={kernel.namespace.path}", "sh", "-c", enter, "sh"]
        + [sys.executable, "-S", "-E", "-c", CLIENT, vip, str(port), kind, str(int(connect))],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PROTO = {"tcp": 6, "udp": 17}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("kind", "connect"), [("tcp", True), ("udp", True), ("udp", False)])
def test_owner_sees_the_service_and_meets_a_backend(
    kernel, worlds, cgroup: Path, servers: None, family: int, kind: str, connect: bool
) -> None:
    vip, backend = worlds[family]["vip"], FAMILIES[family]
    kernel.service(vip, 80, PROTO[kind], [(backend, 7001)])
    seen = ask(kernel, cgroup, vip, 80, kind, connect)
    assert seen == {"answer": f"{kind},{backend},7001", "peer" if connect else "from": [vip, 80]}
    assert [info.port for _, info in kernel.store.reverse.items()] == [80]


@pytest.mark.parametrize(("kind", "connect"), [("tcp", True), ("udp", True), ("udp", False)])
def test_v6_sockets_reach_v4_services(
    kernel, worlds, cgroup: Path, servers: None, kind: str, connect: bool
) -> None:
    kernel.service(worlds[4]["vip"], 80, PROTO[kind], [("127.0.0.1", 7002)])
    mapped = f"::ffff:{worlds[4]['vip']}"
    seen = ask(kernel, cgroup, mapped, 80, kind, connect)
    expected = [mapped, 80]
    assert seen == {
        "answer": f"{kind},127.0.0.1,7002",
        "peer" if connect else "from": expected,
    }


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("kind", "connect"), [("tcp", True), ("udp", True), ("udp", False)])
def test_no_backend_is_said_at_once(
    kernel, worlds, cgroup: Path, family: int, kind: str, connect: bool
) -> None:
    kernel.service(worlds[family]["vip"], 80, PROTO[kind], [])
    seen = ask(kernel, cgroup, worlds[family]["vip"], 80, kind, connect)
    assert seen == {"errno": errno.EHOSTUNREACH}


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_no_service_is_left_alone(
    kernel, worlds, cgroup: Path, servers: None, family: int
) -> None:
    kernel.service(worlds[family]["vip"], 80, 6, [(FAMILIES[family], 7001)])
    seen = ask(kernel, cgroup, FAMILIES[family], 7002, "tcp")
    assert seen == {
        "answer": f"tcp,{FAMILIES[family]},7002",
        "peer": [FAMILIES[family], 7002],
    }
    assert list(kernel.store.reverse.items()) == []
