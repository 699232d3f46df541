# SPDX-License-Identifier: Apache-2.0
"""Rules for Kafka requests: a role or an API key, version, client, topic. Pure."""

from __future__ import annotations

import re

from cilium_core.policy.language.fields import Field, shown

Rule = tuple[tuple[str, object], ...]

ROLES = ("produce", "consume")
API_KEYS = (
    "produce",
    "fetch",
    "offsets",
    "metadata",
    "leaderandisr",
    "stopreplica",
    "updatemetadata",
    "controlledshutdown",
    "offsetcommit",
    "offsetfetch",
    "findcoordinator",
    "joingroup",
    "heartbeat",
    "leavegroup",
    "syncgroup",
    "describegroups",
    "listgroups",
    "saslhandshake",
    "apiversions",
    "createtopics",
    "deletetopics",
    "deleterecords",
    "initproducerid",
    "offsetforleaderepoch",
    "addpartitionstotxn",
    "addoffsetstotxn",
    "endtxn",
    "writetxnmarkers",
    "txnoffsetcommit",
    "describeacls",
    "createacls",
    "deleteacls",
    "describeconfigs",
    "alterconfigs",
)
LONGEST_TOPIC = 255
_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_VERSION = re.compile(r"0|[1-9][0-9]{0,4}")
_LAST_VERSION = 32767


def kafka_rule(field: Field) -> Rule:
    """Return one request pattern as sorted pairs; `()`, from `{}`, is every request.

    Role and API key are in small letters, as they are compared.
    """
    members = field.members(("role", "apiKey", "apiVersion", "clientID", "topic"))
    if "role" in members and "apiKey" in members:
        field.refuse("either role or apiKey, not both")
    found = {
        "role": _word(members.get("role"), ROLES),
        "apiKey": _word(members.get("apiKey"), API_KEYS),
        "apiVersion": _version(members.get("apiVersion")),
        "clientID": members["clientID"].text() if "clientID" in members else None,
        "topic": _topic(members.get("topic")),
    }
    return tuple(sorted((name, value) for name, value in found.items() if value))


def _word(field: Field | None, known: tuple[str, ...]) -> str | None:
    text = field.text() if field else None
    if not field or not text or text.lower() in known:
        return text and text.lower()
    return field.choice(known)


def _version(field: Field | None) -> str | None:
    text = field.text() if field else None
    if not field or not text or (_VERSION.fullmatch(text) and int(text) <= _LAST_VERSION):
        return text
    field.refuse(f"{shown(text)} is no version of a request; use 0 to {_LAST_VERSION}, as a text")
    return None


def _topic(field: Field | None) -> str | None:
    text = field.text() if field else None
    if not field or not text or (len(text) <= LONGEST_TOPIC and _TOPIC.fullmatch(text)):
        return text
    field.refuse(
        f"{shown(text)} is no topic: up to {LONGEST_TOPIC} letters, digits, '.', '_' and '-'"
    )
    return None
