# SPDX-License-Identifier: Apache-2.0
"""The policy language and its pure resolution: one engine for the agent, the CLI and tests."""
