# SPDX-License-Identifier: Apache-2.0
"""The plan of the load: both families, all requests and bytes, and what counts as a fault."""

from __future__ import annotations

from typing import Any

from e2e import load

PLACES = {
    "client": ["10.0.0.5", "fd00::5"],
    "near": ["10.0.0.6", "fd00::6"],
    "far": ["10.0.1.7", "fd00::107"],
}


def number(words: tuple[str, ...], flag: str) -> float:
    return float(words[words.index(flag) + 1])


def test_the_load_is_shared_by_both_families() -> None:
    made = load.commands(PLACES, 50.0)
    text = {name: " ".join(words) for name, words in made.items()}
    assert sorted(made) == ["kept-0", "kept-1", "new", "transfer-0", "transfer-1"]
    assert "http://10.0.1.7:8080/" in text["kept-0"]
    assert "http://[fd00::107]:8080/" in text["kept-1"]
    for address in ("10.0.1.7", "[fd00::107]", "10.0.0.6", "[fd00::6]"):
        assert f"http://{address}:8080/" in text["new"]
    asked = [words for name, words in made.items() if not name.startswith("transfer")]
    assert sum(number(words, "--count") for words in asked) == load.REQUESTS
    assert sum(number(words, "--rate") for words in asked) == load.REQUESTS / 50
    assert sum(int(text[f"transfer-{n}"].split("n=")[1].split("&")[0]) for n in (0, 1)) == load.GIB


def test_faults_name_what_is_missing() -> None:
    made = load.commands(PLACES, 50.0)
    results: dict[str, Any] = {
        name: {"ok": True, "detail": {"bytes": load.GIB // 2}}
        if name.startswith("transfer")
        else {"ok": int(number(words, "--count")), "errors": {}}
        for name, words in made.items()
    }
    assert load.faults(made, results) == []
    results["kept-1"] = {"ok": 2499, "errors": {"reset": 1}}
    results["transfer-0"] = {"ok": True, "detail": {"bytes": 7}}
    found = load.faults(made, results)
    assert len(found) == 2
    assert found[0].startswith("transfer-0: ")
    assert found[1] == "kept-1: 2499 of 2500 answered, {'reset': 1}"
