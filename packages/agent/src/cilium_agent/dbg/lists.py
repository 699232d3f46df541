# SPDX-License-Identifier: Apache-2.0
"""The list commands of `cilium-dbg` as text tables with upstream's heads. Pure."""

from __future__ import annotations

from typing import Any

from cilium_agent.dbg.tables import table


def endpoints(listed: list[dict[str, Any]]) -> str:
    """Return `endpoint list`: further labels on lines of their own."""
    head = [
        "ENDPOINT",
        "POLICY (ingress)",
        "POLICY (egress)",
        "IDENTITY",
        "LABELS (source:key[=value])",
        "IPv6",
        "IPv4",
        "STATUS",
    ]
    rows: list[list[str]] = [["", "ENFORCEMENT", "ENFORCEMENT", "", "", "", "", ""]]
    for item in listed:
        status = item["status"]
        enforced = status["policy"]["realized"]["policy-enabled"]
        labels = status["identity"]["labels"] or [""]
        pair = status["networking"]["addressing"][0]
        rows.append(
            [
                str(item["id"]),
                "Enabled" if enforced in ("ingress", "both") else "Disabled",
                "Enabled" if enforced in ("egress", "both") else "Disabled",
                str(status["identity"]["id"]),
                labels[0],
                pair["ipv6"],
                pair["ipv4"],
                status["state"],
            ]
        )
        rows += [["", "", "", "", label, "", "", ""] for label in labels[1:]]
    return table(head, rows)


def identities(listed: list[dict[str, Any]]) -> str:
    """Return `identity list`."""
    rows: list[list[str]] = []
    for entry in listed:
        labels = entry["identity"]["labels"] or [""]
        rows.append([str(entry["identity"]["id"]), labels[0], str(entry["refCount"])])
        rows += [["", label, ""] for label in labels[1:]]
    return table(["ID", "LABELS", "REFCOUNT"], rows)


def addresses(listed: list[dict[str, Any]]) -> str:
    """Return `ip list`."""
    rows = []
    for entry in listed:
        metadata = entry.get("metadata")
        name = f"{metadata['namespace']}/{metadata['name']}" if metadata else ""
        rows.append([entry["cidr"], str(entry["identity"]), entry.get("hostIP", ""), name])
    return table(["IP", "IDENTITY", "TUNNEL ENDPOINT", "POD"], rows)


def services(listed: list[dict[str, Any]]) -> str:
    """Return `service list`: one line per backend."""
    rows: list[list[str]] = []
    for entry in listed:
        spec = entry["spec"]
        backends = [
            f"{n} => {_at(backend)} ({backend['state']})"
            for n, backend in enumerate(spec["backend-addresses"], start=1)
        ] or [""]
        rows.append(
            [str(spec["id"]), _at(spec["frontend-address"]), spec["flags"]["type"], backends[0]]
        )
        rows += [["", "", "", backend] for backend in backends[1:]]
    return table(["ID", "Frontend", "Service Type", "Backend"], rows)


def map_entries(head: tuple[str, str], reply: dict[str, Any]) -> str:
    """Return a dump of one map."""
    return table(head, [[entry["key"], entry["value"]] for entry in reply["cache"]])


def connections(reply: dict[str, Any]) -> str:
    """Return `bpf ct list`: a line for each connection, those of an end together."""
    return "\n".join(f"{entry['key']} {entry['value']}" for entry in reply["cache"])


_VERDICTS = {"allow": "Allow", "deny": "Deny", "l7": "L7"}


def policies(listed: list[dict[str, Any]], numeric: bool = False) -> str:
    """Return `bpf policy get`: a table for each endpoint. What is not counted is a dash."""
    head = [
        "POLICY",
        "DIRECTION",
        "IDENTITY" if numeric else "LABELS (source:key[=value])",
        "PORT/PROTO",
        "PROXY PORT",
        "AUTH TYPE",
        "BYTES",
        "PACKETS",
        "PREFIX",
        "COOKIE",
    ]
    blocks = []
    for item in listed:
        rows: list[list[str]] = []
        for entry in item["entries"]:
            who = [str(entry["identity"])] if numeric else entry["labels"]
            who = who or (["ANY"] if entry["identity"] == 0 else [str(entry["identity"])])
            verdict, direction = _VERDICTS[entry["policy"]], entry["direction"].capitalize()
            rest = ["NONE", "disabled", "-", "-", str(entry["prefix"]), "-"]
            rows.append([verdict, direction, who[0], entry["ports"], *rest])
            rows += [["", "", label] for label in who[1:]]
        title = f"Endpoint ID: {item['endpoint']}, policy {item['policy']}"
        if item["policy"] == 0:
            title += " (not enforced)"
        blocks.append(f"{title}, revision {item['revision']}\n\n{table(head, rows)}")
    return "\n\n".join(blocks)


def load_balancer(services: dict[str, Any], slots: dict[str, Any], backends: dict[str, Any]) -> str:
    """Return `bpf lb list`: the three maps joined as a program joins them."""
    backend_of = {entry["key"]: entry["value"] for entry in backends["cache"]}
    slot_of = {entry["key"]: entry["value"].removeprefix("backend=") for entry in slots["cache"]}
    rows: list[list[str]] = []
    for entry in services["cache"]:
        words = dict(word.split("=", 1) for word in entry["value"].split())
        rows.append([f"{entry['key']} (0)", f"{entry['value']}"])
        for slot in range(int(words["count"])):
            number = slot_of.get(f"{words['id']}/{slot}", "")
            where = backend_of.get(number, "(no backend)")
            rows.append([f"{entry['key']} ({slot + 1})", f"{where} ({words['id']}) ({number})"])
    return table(["SERVICE ADDRESS", "BACKEND ADDRESS (SERVICE_ID) (BACKEND_ID)"], rows)


def _at(address: dict[str, Any]) -> str:
    host = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
    return f"{host}:{address['port']}/{address['protocol']}"


def policy_objects(reply: dict[str, Any]) -> str:
    """Return `policy get`: objects, their state, and the revision."""
    rows: list[list[str]] = []
    for entry in reply["policies"]:
        name = f"{entry['namespace']}/{entry['name']}" if entry["namespace"] else entry["name"]
        state = "valid" if entry["valid"] else "invalid"
        rows.append([entry["kind"], name, str(entry["rules"]), state])
        rows += [["", "", "", problem] for problem in entry["problems"]]
    return f"{table(['KIND', 'NAME', 'RULES', 'STATE'], rows)}\nRevision: {reply['revision']}"


def selectors(listed: list[dict[str, Any]]) -> str:
    """Return `policy selectors`."""
    rows = []
    for entry in listed:
        numbers = " ".join(map(str, entry["identities"][:8]))
        more = entry["identity-count"] - min(8, len(entry["identities"]))
        rows.append(
            [
                entry["selector"],
                entry["role"],
                str(entry["bit"]),
                f"{numbers} (and {more} more)" if more else numbers,
            ]
        )
    return table(["SELECTOR", "ROLE", "BIT", "IDENTITIES"], rows)


def proxies(listed: list[dict[str, Any]]) -> str:
    """Return `proxy list`: further origins and errors on lines of their own."""
    rows: list[list[str]] = []
    for entry in listed:
        numbers = " ".join(map(str, entry["policies"]))
        more = [*entry["origins"], *([f"error: {entry['error']}"] if entry["error"] else [])]
        head = [str(entry["port"]), entry["kind"], entry["direction"], entry["state"], numbers]
        rows.append([*head, entry["name"], *more[:1]])
        rows += [["", "", "", "", "", "", text] for text in more[1:]]
    return table(["PORT", "KIND", "DIRECTION", "STATE", "POLICIES", "NAME", "RULES"], rows)
