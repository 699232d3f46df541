# SPDX-License-Identifier: Apache-2.0
"""Takes out of records what may be a secret, before they leave the process. Pure.

As upstream's hubble.redact: nothing unless it is enabled; then user information loses its password
by default, queries go when asked, and headers show their values only where the lists let them.
"""

from __future__ import annotations

from dataclasses import dataclass

PLACEHOLDER = "HUBBLE_REDACTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """The settings. Names of headers are in small letters; at most one list is not empty."""

    enabled: bool = False
    url_query: bool = False
    user_info: bool = True
    kafka_api_key: bool = False
    headers_allow: frozenset[str] = frozenset()
    headers_deny: frozenset[str] = frozenset()

    def url(self, url: str) -> str:
        """Return a URL without what is to be hidden."""
        if not self.enabled:
            return url
        if self.url_query:
            url = url.partition("#")[0].partition("?")[0]
        return _without_password(url) if self.user_info else url

    def header(self, name: str, value: str) -> str:
        """Return a header's value, or the placeholder."""
        if not self.enabled or self._shown(name.lower()):
            return value
        return PLACEHOLDER

    def kafka_key(self, key: str) -> str:
        """Return a Kafka API key, or the placeholder."""
        return PLACEHOLDER if self.enabled and self.kafka_api_key and key else key

    def _shown(self, name: str) -> bool:
        if name in self.headers_allow:
            return True
        return bool(self.headers_deny) and not self.headers_allow and name not in self.headers_deny


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    end = next((i for i, character in enumerate(rest) if character in "/?#"), len(rest))
    user_info, at, host = rest[:end].rpartition("@")
    user, colon, _ = user_info.partition(":")
    if not at or not colon:
        return url
    return f"{scheme}://{user}:{PLACEHOLDER}@{host}{rest[end:]}"
