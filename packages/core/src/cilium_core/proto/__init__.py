# SPDX-License-Identifier: Apache-2.0
"""Protobuf messages that several products speak: flows, the Observer API, node state.

`*_pb2` modules are generated (tools/generate_protos.py). Services are called by name, so there
are no gRPC stubs here.
"""
