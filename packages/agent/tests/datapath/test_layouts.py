# SPDX-License-Identifier: Apache-2.0
"""The C structs are what `cilium_core.layouts.datapath` says, by the compiler's own type data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cilium_agent.loader.request import SOURCES
from cilium_core.layouts.datapath import ALL_MAPS
from cilium_core.layouts.policy import Cell
from cilium_core.layouts.record import Record
from cilium_core.layouts.spec import NoKey

RECORDS: dict[str, type[Record]] = {
    record.C_NAME: record
    for spec in ALL_MAPS
    for record in (spec.key, spec.value, Cell)
    if record is not NoKey
}
INTEGERS = "typedef __u8 u8; typedef __u16 u16; typedef __u32 u32; typedef __u64 u64;"


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Every struct of lib/layouts.h by tag, as BTF describes it."""
    folder = tmp_path_factory.mktemp("btf")
    uses = "\n".join(f"struct {name} use_{name};" for name in RECORDS)
    text = f'#include <linux/types.h>\n{INTEGERS}\n#include "{SOURCES}/lib/layouts.h"\n{uses}\n'
    source, unit = folder / "layouts.c", folder / "layouts.o"
    source.write_text(text)
    include = f"/usr/include/{_triple()}"
    subprocess.run(
        ["clang", "-target", "bpf", f"-I{include}", "-g", "-O2", "-c", source, "-o", unit],
        check=True,
    )
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", str(unit)], check=True, capture_output=True
    )
    return {
        entry["name"]: entry
        for entry in json.loads(dump.stdout)["types"]
        if entry["kind"] == "STRUCT"
    }


def _triple() -> str:
    return Path(
        subprocess.run(["cc", "-dumpmachine"], check=True, capture_output=True, text=True).stdout
    ).name.strip()


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_same_members_at_same_offsets(types: dict[str, dict], name: str) -> None:
    record, found = RECORDS[name], types[name]
    members = {entry["name"]: entry["bits_offset"] // 8 for entry in found["members"]}
    assert members == {entry.name: entry.offset for entry in record.layout()}
    assert found["size"] == record.SIZE
