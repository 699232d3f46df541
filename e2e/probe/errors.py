# SPDX-License-Identifier: Apache-2.0
"""Errors of the probe's own use; what a try of the network met is an `Outcome`, not an error."""


class ProbeError(Exception):
    """The base of the probe's errors."""


class TargetError(ProbeError):
    """A target on the command line or in a matrix cannot be read; the message quotes it."""
