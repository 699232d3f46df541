# SPDX-License-Identifier: Apache-2.0
"""What the command can fail with; each message says what to do or which field is wrong."""

from __future__ import annotations


class CliError(Exception):
    """Base: printed as `Error: <message>`, exit status 1."""


class KubeconfigError(CliError):
    """The kubeconfig cannot be used; the message names the file and the field."""


class ApiError(CliError):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ExecError(CliError):
    """A command in a pod could not be run, or ended with a status other than 0."""


class HelmError(CliError):
    """Helm is missing or failed; carries Helm's own words."""


class StatusError(CliError):
    """The status was collected only in part, or did not become ready in time."""
