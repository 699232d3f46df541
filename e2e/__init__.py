# SPDX-License-Identifier: Apache-2.0
"""End-to-end suite: the test cluster, the demo application, and what drives them."""
