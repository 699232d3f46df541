# SPDX-License-Identifier: Apache-2.0
"""Label sets to cluster-wide numbers."""
