# SPDX-License-Identifier: Apache-2.0
"""Reads Kubernetes manifests (YAML or JSON) from files, folders and standard input. Blocking.

What comes out is what the API server would be sent: plain dicts of JSON values. So timestamps stay
text, and a key that stands twice in a mapping is an error instead of a silent choice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cilium_cli.errors import CliError

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"


class Manifest(NamedTuple):
    """One object, and where it was found: a path as the user wrote it, a document from 1."""

    file: str
    document: int
    body: dict[str, Any]


class FileError(CliError):
    """A file cannot be read, or a document in it is no Kubernetes object."""


def load(paths: Sequence[str]) -> list[Manifest]:
    """Return the objects in the files, in order. FileError names the file and the document.

    A folder stands for the .yaml, .yml and .json files in it and below, by name; `-` for standard
    input. Empty documents are left out; the items of a List count as objects of its document.
    """
    found = []
    for file in _files(paths):
        found += list(_manifests(file, _read(file)))
    return found


def parse(file: str, text: str) -> list[Manifest]:
    """Return the objects written in `text`; `file` only names it in errors."""
    return list(_manifests(file, text))


def _files(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        folder = Path(path)
        if path == STDIN or not folder.is_dir():
            yield path
            continue
        inside = sorted(f for f in folder.rglob("*") if f.suffix in SUFFIXES and f.is_file())
        if not inside:
            raise FileError(f"{path}: no {', '.join(SUFFIXES)} file is in this folder")
        yield from map(str, inside)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise FileError(f"{file}: {reason}") from error


def _manifests(file: str, text: str) -> Iterator[Manifest]:
    number = 0
    try:
        for number, document in enumerate(yaml.load_all(text, Loader=_Loader), start=1):
            if document is not None:
                for body in _objects(document, f"{file}: document {number}"):
                    yield Manifest(file, number, body)
    except yaml.YAMLError as error:
        raise FileError(f"{file}: document {number + 1}: {_reason(error)}") from error
    except RecursionError as error:
        raise FileError(f"{file}: document {number + 1}: nested too deeply") from error


def _objects(document: object, where: str) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise FileError(f"{where}: an object is needed, not {type(document).__name__}")
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str):
            raise FileError(f"{where}: {field} is missing")
    if not (document["kind"].endswith("List") and isinstance(document.get("items"), list)):
        yield document
        return
    for number, item in enumerate(document["items"]):
        if isinstance(item, dict) and document["kind"] != "List":
            # The API leaves these two out of the items of a typed list.
            item = {
                "apiVersion": document["apiVersion"],
                "kind": document["kind"].removesuffix("List"),
                **item,
            }
        yield from _objects(item, f"{where}: items[{number}]")


def _reason(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML with the values of JSON only."""


def _mapping(loader: Any, node: yaml.MappingNode) -> Iterator[dict[str, Any]]:
    result: dict[str, Any] = {}
    yield result  # first, so that what refers back to it can be built
    loader.flatten_mapping(node)
    merged = loader.construct_pairs(node, deep=True)
    for (key_node, _), (key, value) in zip(node.value, merged, strict=True):
        name = _key(key, key_node)
        if name in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {name!r} stands twice", key_node.start_mark
            )
        result[name] = value


def _key(key: object, node: yaml.Node) -> str:
    # Kubernetes' own YAML reader turns such keys into text as well.
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, str | int):
        return str(key)
    raise yaml.constructor.ConstructorError(
        None, None, f"the key {key!r} is no text", node.start_mark
    )


def _text(loader: Any, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
