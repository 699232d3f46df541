# SPDX-License-Identifier: Apache-2.0
"""Schemas of the ports of a policy, with TLS and the L7 rules for HTTP, Kafka and DNS. Pure."""

from __future__ import annotations

from cilium_core.crds.schema import (
    Schema,
    any_of_required,
    array,
    enum,
    integer,
    mapping,
    obj,
    text,
)
from cilium_core.crds.selectors import FQDN_PATTERN_PATTERN, questions
from cilium_core.policy.language import icmp
from cilium_core.policy.language.http import MISMATCHES
from cilium_core.policy.language.kafka import LONGEST_TOPIC, ROLES
from cilium_core.policy.language.ports import LONGEST_NAME, PROTOCOLS

PORT_PATTERN = (
    r"^(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}|0"
    r"|([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*)$"
)
_TYPE_NAMES = "|".join(sorted({*icmp.TYPES_V4, *icmp.TYPES_V6}))
ICMP_TYPE_PATTERN = rf"^([0-9]|[1-9][0-9]|1[0-9]{{2}}|2[0-4][0-9]|25[0-5]|{_TYPE_NAMES})$"


def _port_list(maximum: int = 40) -> Schema:
    return array(
        obj(
            {
                "port": text(
                    "A number, or the name of a container port.",
                    pattern=PORT_PATTERN,
                    maxLength=LONGEST_NAME,
                ),
                "endPort": integer(
                    "Last port of a range.", format="int32", minimum=0, maximum=65535
                ),
                "protocol": enum(PROTOCOLS, "ANY (the default) is TCP, UDP and SCTP."),
            },
        ),
        "Ports, ORed.",
        maxItems=maximum,
    )


def ports_denied(description: str) -> Schema:
    """toPorts of a deny rule: ports only."""
    return array(obj({"ports": _port_list()}), description)


def ports(description: str) -> Schema:
    """toPorts of an allow rule: ports with TLS, L7 rules or an Envoy listener."""
    return array(
        obj(
            {
                "ports": _port_list(),
                "terminatingTLS": _tls("How the proxy terminates TLS from the client."),
                "originatingTLS": _tls("How the proxy opens TLS towards the server."),
                "serverNames": array(
                    text(
                        "A name, or a pattern with *.",
                        minLength=1,
                        maxLength=255,
                        pattern=FQDN_PATTERN_PATTERN,
                    ),
                    "Names of the TLS handshake (SNI) to allow.",
                    minItems=1,
                ),
                "listener": _listener(),
                "rules": _l7_rules(),
            }
        ),
        description,
        maxItems=40,
    )


def icmps(description: str) -> Schema:
    """ICMP types of one or both families."""
    return array(
        obj(
            {
                "fields": array(
                    obj(
                        {
                            "family": enum(["IPv4", "IPv6"], "IPv4 when absent."),
                            "type": {
                                "description": "The type, as a number or by name.",
                                "pattern": ICMP_TYPE_PATTERN,
                                "anyOf": [{"type": "integer"}, {"type": "string"}],
                                "x-kubernetes-int-or-string": True,
                            },
                        },
                        required=["type"],
                    ),
                    "Types, ORed.",
                    maxItems=40,
                )
            }
        ),
        description,
    )


def _secret(description: str) -> Schema:
    return obj({"namespace": text(), "name": text()}, description, required=["name"])


def _tls(description: str) -> Schema:
    return obj(
        {
            "secret": _secret("Secret that holds the certificate and key."),
            "trustedCA": text("Item of the secret with the trusted authorities."),
            "certificate": text("Item with the certificate; tls.crt when absent."),
            "privateKey": text("Item with the key; tls.key when absent."),
        },
        description,
        required=["secret"],
    )


def _listener() -> Schema:
    return obj(
        {
            "envoyConfig": obj(
                {
                    "kind": enum(["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"]),
                    "name": text("Name of the Envoy configuration object.", minLength=1),
                },
                required=["name"],
            ),
            "name": text("Name of the listener in it.", minLength=1),
            "priority": integer("1 is best, 100 worst.", format="int32", minimum=1, maximum=100),
        },
        "A user's Envoy listener that takes the connections.",
        required=["envoyConfig", "name"],
    )


def _l7_rules() -> Schema:
    return obj(
        {
            "http": array(_http(), "Requests to allow, ORed."),
            "kafka": array(_kafka(), "Kafka requests to allow, ORed."),
            "dns": questions("Questions to allow, ORed."),
            "l7proto": text("Name of a parser."),
            "l7": array(mapping(text()), "Rules of that parser."),
        },
        "Application rules for these ports; only one protocol of them.",
        oneOf=[
            *any_of_required("http", "kafka", "dns"),
            {"properties": {"l7proto": {}, "l7": {}}, "required": ["l7proto"]},
            {
                "not": {
                    "anyOf": any_of_required("http", "kafka", "dns", "l7proto"),
                }
            },
        ],
    )


def _http() -> Schema:
    return obj(
        {
            "path": text("Regular expression over the path; all paths when absent."),
            "method": text("Regular expression over the method."),
            "host": text("Regular expression over the host.", format="idn-hostname"),
            "headers": array(text(), "Headers that must be there: `Name` or `Name value`."),
            "headerMatches": array(
                obj(
                    {
                        "name": text("The header.", minLength=1),
                        "value": text("Its value."),
                        "secret": _secret("Secret that holds the value."),
                        "mismatch": enum(
                            MISMATCHES,
                            "What to do instead of denying when it does not match.",
                        ),
                    },
                    required=["name"],
                ),
                "Headers and what to do when they do not match.",
            ),
        },
        "One request pattern; {} is every request.",
    )


def _kafka() -> Schema:
    both = {"properties": {"role": {}, "apiKey": {}}, "required": ["role", "apiKey"]}
    not_both: Schema = {"not": both}
    return obj(
        {
            "role": enum(ROLES, "A group of API keys."),
            "apiKey": text("One API key by name."),
            "apiVersion": text("One API version."),
            "clientID": text("The client's id."),
            "topic": text("The topic.", maxLength=LONGEST_TOPIC),
        },
        "One request pattern; {} is every request.",
        **not_both,
    )


def authentication() -> Schema:
    """The authentication that a peer must have passed."""
    return obj(
        {"mode": enum(["disabled", "required", "test-always-fail"])},
        "Mutual authentication asked of the peer.",
        required=["mode"],
    )
