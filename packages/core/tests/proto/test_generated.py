# SPDX-License-Identifier: Apache-2.0
"""The committed modules are what the .proto files make, and the wire format has not moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cilium_core.proto import flow_pb2, nodestate_pb2, observer_pb2, peer_pb2, relay_pb2

ROOT = Path(__file__).parents[4]
HERE = ROOT / "packages" / "core" / "src" / "cilium_core" / "proto"


def test_generated_modules_are_current(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    command = [sys.executable, str(ROOT / "tools" / "generate_protos.py"), str(tmp_path)]
    subprocess.run(command, check=True)
    made = sorted((tmp_path / "cilium_core" / "proto").iterdir())
    assert len(made) == 2 * len(list(HERE.glob("*.proto")))
    for path in made:
        assert path.read_text() == (HERE / path.name).read_text(), path.name


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        (
            flow_pb2.Flow,
            {
                "time": 1,
                "verdict": 2,
                "IP": 5,
                "l4": 6,
                "source": 8,
                "destination": 9,
                "Type": 10,
                "node_name": 11,
                "event_type": 19,
                "traffic_direction": 22,
                "policy_match_type": 23,
                "drop_reason_desc": 25,
                "is_reply": 26,
                "uuid": 34,
                "Summary": 100000,
                "egress_allowed_by": 21001,
                "ingress_allowed_by": 21002,
                "egress_denied_by": 21004,
                "ingress_denied_by": 21005,
            },
        ),
        (
            flow_pb2.FlowFilter,
            {"source_ip": 1, "source_pod": 2, "verdict": 5, "reply": 15, "uuid": 29},
        ),
        (flow_pb2.Endpoint, {"ID": 1, "identity": 2, "namespace": 3, "labels": 4, "pod_name": 5}),
        (observer_pb2.GetFlowsRequest, {"number": 1, "follow": 3, "whitelist": 6, "first": 9}),
        (observer_pb2.GetFlowsResponse, {"flow": 1, "lost_events": 3, "node_name": 1000}),
        (observer_pb2.ServerStatusResponse, {"num_flows": 1, "version": 8, "flows_rate": 9}),
        (peer_pb2.ChangeNotification, {"name": 1, "address": 2, "type": 3, "tls": 4}),
        (relay_pb2.NodeStatusEvent, {"state_change": 1, "node_names": 2, "message": 3}),
        (nodestate_pb2.Update, {"epoch": 1, "revision": 2, "kind": 3, "changes": 4}),
    ],
)
def test_numbers(message: type, numbers: dict[str, int]) -> None:
    fields = {field.name: field.number for field in message.DESCRIPTOR.fields}
    assert numbers.items() <= fields.items()


def test_names_of_packages() -> None:
    assert flow_pb2.Flow.DESCRIPTOR.full_name == "flow.Flow"
    assert observer_pb2.Node.DESCRIPTOR.full_name == "observer.Node"
    assert nodestate_pb2.Node.DESCRIPTOR.full_name == "cilium.python.nodestate.v1.Node"
    assert flow_pb2.TO_ENDPOINT == 101
    assert flow_pb2.DropReason.Value("POLICY_DENIED") == 133


def test_flow_fields_are_declared_in_the_order_of_json_output() -> None:
    names = [field.name for field in flow_pb2.Flow.DESCRIPTOR.fields]
    assert names[:6] == ["time", "uuid", "emitter", "verdict", "drop_reason", "auth_type"]
    response = [field.name for field in observer_pb2.GetFlowsResponse.DESCRIPTOR.fields]
    assert response == ["flow", "node_status", "lost_events", "node_name", "time"]
