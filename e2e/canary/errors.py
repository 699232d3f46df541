# SPDX-License-Identifier: Apache-2.0
"""Errors of the canary's own use; lost packets are counted, not raised."""


class CanaryError(Exception):
    """The canary cannot be started or read; the message says what to look at."""
