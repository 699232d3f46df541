# SPDX-License-Identifier: Apache-2.0
"""A line on a request or response in upstream's words. Pure."""

from __future__ import annotations

from cilium_core.proto import flow_pb2

_RCODES = (
    "No Error",
    "Format Error",
    "Server Failure",
    "Non-Existent Domain",
    "Not Implemented",
    "Query Refused",
    "Name Exists when it should not",
    "RR Set Exists when it should not",
    "RR Set that should exist does not",
    "Server Not Authoritative for zone",
    "Name not contained in zone",
)


def summary(l7: flow_pb2.Layer7) -> str:
    """Return the line; empty for what is not known any more."""
    match l7.WhichOneof("record"):
        case "http":
            return _http(l7)
        case "dns":
            return _dns(l7)
        case "kafka":
            return _kafka(l7)
    return ""


def _http(l7: flow_pb2.Layer7) -> str:
    http = l7.http
    asked = f"{http.method} {http.url}"
    if l7.type == flow_pb2.REQUEST:
        return f"{http.protocol} {asked}"
    return f"{http.protocol} {http.code} {l7.latency_ns // 1_000_000}ms ({asked})"


def _dns(l7: flow_pb2.Layer7) -> str:
    dns = l7.dns
    types = ",".join(dns.qtypes)
    if l7.type == flow_pb2.REQUEST:
        return f"DNS Query {dns.query} {types}"
    if dns.rcode:
        answer = f"RCode: {rcode_name(dns.rcode)}"
    else:
        parts = [f'"{",".join(dns.ips)}"'] if dns.ips else []
        parts += [f'CNAMEs: "{",".join(dns.cnames)}"'] if dns.cnames else []
        answer = " ".join(parts)
    source = "Proxy" if dns.observation_source == "proxy" else "Query"
    return f"DNS Answer {answer} TTL: {dns.ttl} ({source} {dns.query} {types})"


def rcode_name(code: int) -> str:
    """Return the words of a DNS return code; an unknown one is its number."""
    return _RCODES[code] if code < len(_RCODES) else str(code)


def _kafka(l7: flow_pb2.Layer7) -> str:
    kafka = l7.kafka
    about = f"{kafka.api_key} correlation id {kafka.correlation_id} topic '{kafka.topic}'"
    if l7.type == flow_pb2.REQUEST:
        return f"Kafka request {about}"
    return f"Kafka response {about} return code {kafka.error_code}"
