# SPDX-License-Identifier: Apache-2.0
"""The monitor stream: kernel events as lines, for `cilium-dbg monitor`."""
