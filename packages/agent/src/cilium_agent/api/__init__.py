# SPDX-License-Identifier: Apache-2.0
"""The agent REST API on a unix socket."""
