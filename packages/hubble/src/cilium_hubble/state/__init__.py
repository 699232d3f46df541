# SPDX-License-Identifier: Apache-2.0
"""What the node's agent says: who has which address, what identities and rules mean."""
