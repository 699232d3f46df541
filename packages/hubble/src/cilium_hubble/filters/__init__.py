# SPDX-License-Identifier: Apache-2.0
"""FlowFilters as column operations over stored rows."""
