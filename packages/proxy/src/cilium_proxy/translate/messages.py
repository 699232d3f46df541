# SPDX-License-Identifier: Apache-2.0
"""Protobuf messages packed and named the way Envoy wants them. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from google.protobuf import any_pb2, duration_pb2, wrappers_pb2
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Resource:
    """One xDS resource. The version is the content's digest: equal content is never sent twice."""

    name: str
    version: str
    body: any_pb2.Any


def resource(name: str, message: Message) -> Resource:
    """Return a resource of this content."""
    body = packed(message)
    return Resource(name, hashlib.sha256(body.value).hexdigest()[:16], body)


def packed(message: Message) -> any_pb2.Any:
    """Return the message in an Any; equal messages give equal bytes."""
    body = any_pb2.Any()
    body.Pack(message, deterministic=True)
    return body


def extension(name: str, message: Message) -> dict[str, Any]:
    """Return the two fields that name an extension and configure it."""
    return {"name": name, "typed_config": packed(message)}


def yes(value: bool = True) -> wrappers_pb2.BoolValue:
    """Return a flag that is set, rather than absent."""
    return wrappers_pb2.BoolValue(value=value)


def number(value: int) -> wrappers_pb2.UInt32Value:
    """Return a number that is set, rather than absent."""
    return wrappers_pb2.UInt32Value(value=value)


def duration(seconds: float) -> duration_pb2.Duration:
    """Return a duration; for most of Envoy's timeouts zero means never."""
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
