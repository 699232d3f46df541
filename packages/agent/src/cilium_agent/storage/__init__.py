# SPDX-License-Identifier: Apache-2.0
"""What the agent must know after a crash, in one SQLite file."""
