# SPDX-License-Identifier: Apache-2.0
"""Pools of pod CIDRs: what Helm refuses is what Python's ipaddress calls wrong or overlapping."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from .conftest import Render, Rendered, run_helm

KEYS = {
    4: "ipam.operator.clusterPoolIPv4PodCIDRList",
    6: "ipam.operator.clusterPoolIPv6PodCIDRList",
}


def pools(render: Render, version: int, cidrs: list[str]) -> Rendered:
    ends = {4: (8, 30), 6: (16, 126)}[version]
    longest = max(int(cidr.partition("/")[2]) for cidr in cidrs)
    operator = {
        f"clusterPoolIPv{version}PodCIDRList": cidrs,
        f"clusterPoolIPv{version}MaskSize": min(max(longest, ends[0]), ends[1]),
    }
    return render({"ipv6": {"enabled": True}, "ipam": {"operator": operator}})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.1.0.0/16", "10.0.0.0/8"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.0.0.0/9", "10.128.0.0/9"),
        ("10.0.8.0/21", "10.0.15.0/24"),
        ("10.0.8.0/21", "10.0.16.0/24"),
        ("192.168.0.0/16", "10.0.0.0/8"),
        ("255.255.255.0/24", "255.255.254.0/24"),
        ("0.0.0.0/0", "10.0.0.0/8"),
        ("fd00::/16", "fd00:1::/32"),
        ("fd00:1::/32", "fd00::/16"),
        ("fd00::/104", "FD00::/104"),
        ("fd00::/104", "fd00:0:0:0:0:0:0:0/104"),
        ("fd00::/9", "fd80::/9"),
        ("fd00::/17", "fd00:8000::/17"),
        ("fd00::8:0/109", "fd00::f:0/112"),
        ("fd00::8:0/109", "fd00::10:0/112"),
        ("2001:db8::/33", "2001:db8:7fff:ffff::/64"),
        ("2001:db8::/33", "2001:db8:8000::/64"),
        ("1:2:3:4:5:6:7:0/112", "1:2:3:4:5:6:7::/112"),
        ("1::8:0/112", "1:0:0:0:0:0:8:0/112"),
        ("::/0", "fd00::/16"),
        ("::ffff:10.0.0.0/104", "::ffff:a00:0/120"),
        ("::ffff:10.0.0.0/104", "::FFFF:11.0.0.0/104"),
        ("64:ff9b::192.0.2.0/120", "64:ff9b::c000:200/124"),
        ("::0.1.0.0/112", "::1:0/126"),
        ("0:0::/32", "0:1::/32"),
    ],
)
def test_pools_that_overlap_are_refused(render: Render, first: str, second: str) -> None:
    version = ip_network(first).version
    spare = {4: "172.16.0.0/16", 6: "fe00:7::/48"}[version]
    wanted = ip_network(first).overlaps(ip_network(second))
    if ip_network(first).prefixlen and ip_network(second).prefixlen:
        cidrs = [spare, first, second]
    else:
        cidrs = [first, second]
    rendered = pools(render, version, cidrs)
    assert (rendered.code != 0) is wanted, rendered.error
    if wanted:
        assert f"{KEYS[version]}: {first} and {second} overlap" in rendered.error


@pytest.mark.parametrize(
    ("version", "cidr"),
    [
        (4, "10.0.0.1/24"),
        (4, "10.0.300.0/24"),
        (4, "10.0.010.0/24"),
        (6, "fd00::1/64"),
        (6, "fd00::8000:0/96"),
        (6, "fd00:::/64"),
        (6, "fd00::1::/64"),
        (6, "::::/64"),
        (6, ":fd00::/64"),
        (6, "fd00:/64"),
        (6, "fd000::/64"),
        (6, "1:2:3:4:5:6:7/112"),
        (6, "1:2:3:4:5:6:7:8:0/112"),
        (6, "1:2:3:4::5:6:7:0/112"),
        (6, "::ffff:10.0.0/120"),
        (6, "::ffff:10.0.0.256/120"),
        (6, "::10.0.0.0:1/112"),
        (6, "1:2:3:4:5:6:7:10.0.0.0/120"),
    ],
)
def test_what_is_no_network_is_refused(render: Render, version: int, cidr: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ip_network(cidr)
    rendered = pools(render, version, [cidr])
    assert rendered.code != 0
    assert f"{KEYS[version]}: {cidr.partition('/')[0]}" in rendered.error or (
        f"{KEYS[version]}: {cidr} has bits set" in rendered.error
    ), rendered.error


def random_spelling(random: Random, value: int) -> str:
    """Return one of the ways to write an IPv6 address."""
    groups = [f"{value >> shift & 0xFFFF:x}" for shift in range(112, -16, -16)]
    if random.random() < 0.5:
        groups = [group.zfill(random.randint(1, 4)) for group in groups]
    if random.random() < 0.3:
        low = value & 0xFFFF_FFFF
        groups[6:] = [".".join(str(low >> shift & 0xFF) for shift in (24, 16, 8, 0))]
    runs = [
        (start, end)
        for start, end in combinations(range(len(groups) + 1), 2)
        if all(group.strip("0") == "" for group in groups[start:end])
    ]
    text = ":".join(groups)
    if runs and random.random() < 0.7:
        start, end = random.choice(runs)
        text = f"{':'.join(groups[:start])}::{':'.join(groups[end:])}"
    return text.upper() if random.random() < 0.3 else text


def test_helm_reads_networks_as_python_does(tmp_path: Path) -> None:
    # One chart of its own with many pairs: one helm a pair would take minutes.
    random = Random(6)
    cidrs = []
    for _ in range(400):
        prefix = random.randint(1, 128)
        bits = random.getrandbits(8) << 120 | random.getrandbits(128) & random.getrandbits(128)
        value = (bits & random.choice([-1, -1 << 64, -1 << 100])) >> (128 - prefix)
        cidrs.append(f"{random_spelling(random, value << (128 - prefix))}/{prefix}")
    cidrs += [f"{random.getrandbits(7) << 1}.{random.getrandbits(8)}.0.0/16" for _ in range(100)]
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: bits\nversion: 0.1.0\n")
    source = Path(__file__).parents[1] / "cilium" / "templates" / "_cidr.tpl"
    (tmp_path / "templates" / "_cidr.tpl").write_text(source.read_text())
    lines = "\n".join(
        f'"{cidr}": "{{{{ include "cilium.bits.network" (dict "key" "k" "cidr" "{cidr}") }}}}"'
        for cidr in sorted(set(cidrs))
    )
    (tmp_path / "templates" / "bits.yaml").write_text(lines + "\n")
    done = run_helm("template", "bits", str(tmp_path))
    assert done.returncode == 0, done.stderr
    read = dict(
        line.replace('"', "").rsplit(": ", 1)
        for line in done.stdout.splitlines()
        if line.startswith('"')
    )
    assert len(read) > 400
    for cidr, bits in read.items():
        network = ip_network(cidr)
        whole = f"{int(network.network_address):0{network.max_prefixlen}b}"
        assert bits == whole[: network.prefixlen], cidr
