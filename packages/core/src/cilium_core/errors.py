# SPDX-License-Identifier: Apache-2.0
"""Errors that every package raises for input it cannot take."""

from __future__ import annotations


class CiliumError(Exception):
    """Base of this project's own errors; its text is fit for a user."""


class FieldError(CiliumError):
    """An input field is wrong. `field` is the path a user can find, `reason` says what is."""

    def __init__(self, field: str, reason: str) -> None:
        """Keep both parts; the text is `field: reason`."""
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ConfigError(FieldError):
    """A setting is wrong; `field` is its key."""
