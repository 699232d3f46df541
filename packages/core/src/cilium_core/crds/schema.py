# SPDX-License-Identifier: Apache-2.0
"""Small builders for structural OpenAPI v3 schemas, so that a CRD reads like its type.

Each builder returns a fresh dict that a CustomResourceDefinition can carry. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]


def text(description: str = "", **extra: Any) -> Schema:
    """A string; `extra` takes further keywords (pattern, enum, maxLength, format …)."""
    return _typed("string", description, extra)


def integer(description: str = "", **extra: Any) -> Schema:
    """A 64-bit integer unless `format` says otherwise."""
    return _typed("integer", description, {"format": "int64", **extra})


def boolean(description: str = "") -> Schema:
    """A boolean."""
    return _typed("boolean", description, {})


def array(items: Schema, description: str = "", **extra: Any) -> Schema:
    """A list of `items`."""
    return _typed("array", description, {"items": items, **extra})


def obj(
    properties: Mapping[str, Schema],
    description: str = "",
    required: Sequence[str] = (),
    **extra: Any,
) -> Schema:
    """An object with named properties; fields that are not named are pruned by the server."""
    more: Schema = {"properties": dict(properties), **extra}
    if required:
        more["required"] = sorted(required)
    return _typed("object", description, more)


def mapping(values: Schema, description: str = "", **extra: Any) -> Schema:
    """An object with free keys and values of one schema."""
    return _typed("object", description, {"additionalProperties": values, **extra})


def timestamp(description: str = "") -> Schema:
    """An RFC 3339 time."""
    return text(description, format="date-time")


def enum(values: Sequence[str], description: str = "") -> Schema:
    """A string out of a closed list."""
    return text(description, enum=list(values))


def any_of_required(*fields: str) -> list[Schema]:
    """The alternatives of an anyOf/oneOf that asks for the presence of one of the fields."""
    return [{"properties": {field: {}}, "required": [field]} for field in fields]


def conditions(description: str = "") -> Schema:
    """The list of conditions that status blocks carry, merged by type."""
    return array(
        obj(
            {
                "type": text("The kind of condition."),
                "status": text("True, False or Unknown."),
                "lastTransitionTime": timestamp("When the status changed last."),
                "reason": text("A word for machines."),
                "message": text("A sentence for people."),
            },
            required=["type", "status"],
        ),
        description,
        **{"x-kubernetes-list-map-keys": ["type"], "x-kubernetes-list-type": "map"},
    )


def _typed(name: str, description: str, extra: Mapping[str, Any]) -> Schema:
    schema: Schema = {"type": name}
    if description:
        schema["description"] = description
    schema.update(extra)
    return schema
