# SPDX-License-Identifier: Apache-2.0
"""Errors of the proxy. Each text says what is wrong and, where something can be done, what."""

from __future__ import annotations

from cilium_core.errors import CiliumError, FieldError


class ProxyError(CiliumError):
    """Base of the proxy's own errors."""


class RuleError(FieldError):
    """A rule cannot be put in force; `field` says which one of its rule set."""
