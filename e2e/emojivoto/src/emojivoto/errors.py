# SPDX-License-Identifier: Apache-2.0
"""What can go wrong before a service serves; the message says what to change."""


class EmojivotoError(Exception):
    """The base of this application's errors."""


class SettingError(EmojivotoError):
    """An environment variable has a value that the service cannot use."""
