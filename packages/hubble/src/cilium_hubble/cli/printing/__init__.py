# SPDX-License-Identifier: Apache-2.0
"""What comes out of a server as text: compact, dict, table, JSON."""
