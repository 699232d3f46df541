# SPDX-License-Identifier: Apache-2.0
"""Manifests from files and folders, and errors that say where."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cilium_cli.policy.files import FileError, Manifest, load, parse

ONE = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\n"


def test_documents_and_lists() -> None:
    text = f"""---
{ONE}---
# nothing here
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Node
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicyList
items:
- metadata: {{name: two}}
"""
    assert parse("a.yaml", text) == [
        Manifest("a.yaml", 1, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}}),
        Manifest("a.yaml", 3, {"apiVersion": "v1", "kind": "Node"}),
        Manifest(
            "a.yaml",
            4,
            {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNetworkPolicy",
                "metadata": {"name": "two"},
            },
        ),
    ]


def test_values_are_those_of_json() -> None:
    text = "apiVersion: v1\nkind: X\nwhen: 2024-01-01\n1: a\ntrue: b\nbase: &b {c: d}\nref: *b\n"
    (found,) = parse("a", text)
    assert found.body["when"] == "2024-01-01"
    assert (found.body["1"], found.body["true"]) == ("a", "b")
    assert found.body["ref"] == {"c": "d"}
    (same,) = parse("a.json", '{"apiVersion": "v1", "kind": "X", "n": 1.5, "u": "\\u00e9"}')
    assert (same.body["n"], same.body["u"]) == (1.5, "é")


def test_folders_by_name_and_below(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.yml", "a.yaml", "sub/c.json"):
        (tmp_path / name).write_text(ONE)
    (tmp_path / "notes.txt").write_text("not: read")
    found = load([str(tmp_path), str(tmp_path / "a.yaml")])
    assert [Path(each.file).name for each in found] == ["a.yaml", "b.yml", "c.json", "a.yaml"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(ONE))
    (found,) = load(["-"])
    assert (found.file, found.body["kind"]) == ("-", "Pod")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\n", "f: document 1: apiVersion is missing"),
        (f"{ONE}---\n- a\n", "f: document 2: an object is needed, not list"),
        (f"{ONE}---\nword\n", "f: document 2: an object is needed, not str"),
        (f"{ONE}---\na: [\n", "f: document 2: line 6: did not find expected node content"),
        (f"{ONE}kind: Node\n", "f: document 1: line 4: the key 'kind' stands twice"),
        (f"{ONE}spec: {{a: 1, a: 2}}\n", "f: document 1: line 4: the key 'a' stands twice"),
        (f"{ONE}? [a]\n: b\n", "f: document 1: line 4: the key ['a'] is no text"),
        (f"{ONE}x: &a {{b: *a}}\n", "f: document 1: line 4: found unconstructable recursive node"),
        (
            "apiVersion: v1\nkind: List\nitems: [{kind: Pod}]\n",
            "f: document 1: items[0]: apiVersion is missing",
        ),
    ],
)
def test_errors_name_the_document(text: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        parse("f", text)
    assert str(caught.value) == message


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="^/none: No such file or directory$"):
        load(["/none"])
    with pytest.raises(FileError, match="no .yaml, .yml, .json file is in this folder$"):
        load([str(tmp_path)])
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileError, match="a.yaml: not UTF-8 text$"):
        load([str(tmp_path / "a.yaml")])
