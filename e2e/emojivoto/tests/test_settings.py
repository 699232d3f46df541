# SPDX-License-Identifier: Apache-2.0
"""Settings are read exactly, and a wrong one is named."""

import pytest

from emojivoto import settings
from emojivoto.errors import SettingError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0.0), ("250ms", 0.25), ("10s", 10.0), ("2m", 120.0), ("1.5", 1.5), ("1h", 3600.0)],
)
def test_seconds(text: str, expected: float) -> None:
    assert settings.seconds({"TTL": text}, "TTL") == expected


def test_defaults() -> None:
    assert settings.port({}, "GRPC_PORT", 8080) == 8080
    assert settings.number({}, "REQUEST_RATE", 1.0, 10.0) == 1.0
    assert settings.seconds({}, "TTL") == 0.0


@pytest.mark.parametrize("text", ["-1", "70000", "http", ""])
def test_bad_port_is_named(text: str) -> None:
    with pytest.raises(SettingError, match="GRPC_PORT"):
        settings.port({"GRPC_PORT": text}, "GRPC_PORT", 8080)


@pytest.mark.parametrize("text", ["web", "web:", ":80", ""])
def test_bad_target_is_named(text: str) -> None:
    with pytest.raises(SettingError, match="WEB_HOST"):
        settings.target({"WEB_HOST": text}, "WEB_HOST")


@pytest.mark.parametrize("text", ["-0.1", "1.1", "often", "nan"])
def test_bad_rate_is_named(text: str) -> None:
    with pytest.raises(SettingError, match="FAILURE_RATE"):
        settings.number({"FAILURE_RATE": text}, "FAILURE_RATE", 0.0, 1.0)


@pytest.mark.parametrize("text", ["10 parsecs", "-1s", "s"])
def test_bad_duration_is_named(text: str) -> None:
    with pytest.raises(SettingError, match="TTL"):
        settings.seconds({"TTL": text}, "TTL")
