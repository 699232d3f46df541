# SPDX-License-Identifier: Apache-2.0
"""The JSON of probes: every field, and what is wrong with it."""

import pytest

from cilium_core.errors import FieldError
from cilium_core.policy.requests import Request
from cilium_core.policy.rules import L7Kind
from cilium_core.policy.trace import Probe, parse_probe

ENDS = {"from": "a/b", "to": "a/c"}


@pytest.mark.parametrize(
    ("body", "protocol", "port"),
    [
        ({"port": 80}, 6, 80),
        ({"port": "80", "protocol": "udp"}, 17, 80),
        ({"port": 0, "protocol": "SCTP"}, 132, 0),
        ({"protocol": "VRRP"}, 112, 0),
        ({"protocol": 47}, 47, 0),
        ({"protocol": "47", "port": 9}, 47, 0),
        ({"icmp": {"type": 3}}, 1, 3),
        ({"protocol": "ICMPv6", "icmp": {"type": "128"}}, 58, 128),
    ],
)
def test_protocols_and_ports(body, protocol, port):
    assert parse_probe(ENDS | body) == Probe("a/b", "a/c", protocol, port)


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (
            {"http": {"headers": {"Host": "h", "X-A": "1"}}},
            (L7Kind.HTTP, {"method": "GET", "path": "/", "host": "h"}),
        ),
        ({"dns": "a.b"}, (L7Kind.DNS, {"name": "a.b"})),
        ({"dns": {"query": "a.b"}}, (L7Kind.DNS, {"name": "a.b"})),
        ({"sni": "a.b"}, (L7Kind.SNI, {"name": "a.b"})),
        (
            {"kafka": {"apiKey": 1, "apiVersion": 2}},
            (L7Kind.KAFKA, {"apiKey": "fetch", "apiVersion": "2"}),
        ),
        ({"kafka": {"apiKey": "Produce"}}, (L7Kind.KAFKA, {"apiKey": "produce"})),
    ],
)
def test_requests(body, request_):
    found = parse_probe(ENDS | {"port": 1} | body).request
    fields = dict(found.fields)
    if found.kind is L7Kind.HTTP:
        assert fields.pop("headers") == {"host": "h", "x-a": "1"}
    assert Request(found.kind, fields) == request_


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"from": "a/b", "port": 1}, "to: is needed: ns/pod, ip:…, node:…, entity:…"),
        (ENDS, "port: is needed: a number from 0 to 65535"),
        (ENDS | {"port": 65536}, "port: 65536 is out of range; use 0 to 65535"),
        (ENDS | {"port": "http"}, "port: a number is needed, not 'http'"),
        (ENDS | {"protocol": "TPC", "port": 1}, "protocol: 'TPC' is unknown; use ICMP, "),
        (ENDS | {"protocol": 256}, "protocol: 256 is out of range; use 0 to 255"),
        (ENDS | {"protocol": "ICMP"}, "icmp.type: is needed: a number from 0 to 255"),
        (ENDS | {"icmp": {"type": "Ping"}}, "icmp.type: 'Ping' is unknown; use "),
        (ENDS | {"port": 1, "dns": {}}, "dns.query: is needed"),
        (ENDS | {"port": 1, "dns": "a", "sni": "a"}, "sni: only one of dns or sni"),
        (ENDS | {"port": 1, "http": {"url": "/"}}, "http.url: unknown field; "),
        (ENDS | {"port": 1, "path": "/"}, "path: unknown field; "),
    ],
)
def test_mistakes(body, message):
    with pytest.raises(FieldError) as caught:
        parse_probe(body)
    assert str(caught.value).startswith(message)


def test_a_type_by_name_has_the_number_of_the_family():
    probe = parse_probe(ENDS | {"icmp": {"type": "EchoRequest"}})
    assert (probe.over(4), probe.over(6)) == ((1, 8), (58, 128))
    with pytest.raises(FieldError, match="'Redirect' is no type of ICMP over IPv6"):
        parse_probe(ENDS | {"icmp": {"type": "Redirect"}}).over(6)
