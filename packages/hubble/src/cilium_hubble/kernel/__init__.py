# SPDX-License-Identifier: Apache-2.0
"""The kernel's event ring: mapping, reading, what it could not take."""
