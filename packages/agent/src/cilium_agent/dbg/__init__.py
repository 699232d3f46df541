# SPDX-License-Identifier: Apache-2.0
"""The in-pod tool `cilium-dbg`; imports nothing heavy, so that it starts fast."""
