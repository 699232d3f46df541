# SPDX-License-Identifier: Apache-2.0
"""Messages as one line of proto3 JSON: original names, the order of the .proto. Pure."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def line(message: Message) -> str:
    """Return a message as compact JSON."""
    return json.dumps(plain(message), separators=(",", ":"), ensure_ascii=False)


def plain(message: Message) -> dict[str, Any]:
    """Return a message as dictionaries and lists."""
    made = MessageToDict(message, preserving_proto_field_name=True)
    ordered: dict[str, Any] = _ordered(made, message.DESCRIPTOR)
    return ordered


def _ordered(value: Any, descriptor: Any) -> Any:
    """Put fields in the order in which the .proto declares them, all the way down."""
    if isinstance(value, list):
        return [_ordered(item, descriptor) for item in value]
    if not isinstance(value, dict) or not isinstance(descriptor, Descriptor):
        return value
    if descriptor.full_name.startswith("google.protobuf."):
        return value
    return {
        field.name: _ordered(value[field.name], field.message_type)
        for field in descriptor.fields
        if field.name in value
    }
