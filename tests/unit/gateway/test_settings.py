"""Settings: who wins, what is refused, and that a child sees the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.errors import ExitCode, UsageError
from tapectl.gateway.settings import ListenAddress, SettingError, Settings, parse_listen
from tapectl.units import MIB


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tapectl.toml"
    path.write_text('hold_s = 5\nsegment_bytes = "8MiB"\nlisten = ["127.0.0.1:1", "[::1]:2"]\n')
    return path


def source_of(settings: Settings, name: str) -> str:
    return next(row.source for row in settings.describe() if row.name == name)


def test_flag_over_environment_over_file_over_default(config: Path) -> None:
    environ = {"TAPECTL_HOLD_S": "7", "TAPECTL_SEGMENT_BYTES": "4MiB"}
    settings = Settings.load(environ, config, hold_s=9, upload_workers=None)
    assert (settings.hold_s, source_of(settings, "hold_s")) == (9, "flag")
    assert settings.segment_bytes == 4 * MIB
    assert source_of(settings, "segment_bytes") == "environment TAPECTL_SEGMENT_BYTES"
    assert settings.listen == (ListenAddress("127.0.0.1", 1), ListenAddress("::1", 2))
    assert source_of(settings, "listen") == f"file {config}"
    assert (settings.upload_workers, source_of(settings, "upload_workers")) == (2, "default")


def test_defaults(tmp_path: Path) -> None:
    settings = Settings.load({}, _empty(tmp_path))
    assert settings.hold_s == 60
    assert settings.segment_bytes == 64 * MIB
    assert [str(address) for address in settings.listen] == ["127.0.0.1:3260"]
    assert not settings.allow_anonymous


def test_a_child_sees_the_same(config: Path) -> None:
    settings = Settings.load({"TAPECTL_ALLOW_ANONYMOUS": "yes"}, config)
    assert Settings.from_json(settings.to_json()) == settings


def test_the_state_file_has_a_short_variable(tmp_path: Path) -> None:
    settings = Settings.load({"TAPECTL_STATE": "/srv/x.db"}, _empty(tmp_path))
    assert settings.state_path == Path("/srv/x.db")


def test_users_keep_their_state_below_their_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    settings = Settings.load({"HOME": str(tmp_path)})
    assert settings.state_path == tmp_path / ".local/state/tapectl/tapectl.db"
    settings = Settings.load({"XDG_STATE_HOME": "/x", "HOME": str(tmp_path)})
    assert settings.state_path == Path("/x/tapectl/tapectl.db")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings.load({}, _empty(tmp_path)).state_path == Path("/var/lib/tapectl/tapectl.db")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hold_s", "-1"),
        ("hold_s", "soon"),
        ("hold_s", "nan"),
        ("segment_bytes", "512KiB"),
        ("segment_bytes", "257MiB"),
        ("segment_bytes", "big"),
        ("upload_workers", "0"),
        ("upload_workers", "1.5"),
        ("cache_high_watermark_percent", "101"),
        ("compression", "maybe"),
        ("listen", "127.0.0.1:99999"),
        ("listen", ""),
        ("state_path", ""),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, name: str, value: str) -> None:
    variable = "TAPECTL_STATE" if name == "state_path" else f"TAPECTL_{name.upper()}"
    with pytest.raises(SettingError) as caught:
        Settings.load({variable: value}, _empty(tmp_path))
    assert caught.value.exit_code == ExitCode.SETTING_INVALID
    assert name in caught.value.message
    assert variable in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [("hold = 3", "unknown settings"), ("hold_s = ", "no TOML"), ("hold_s = true", "hold_s")],
)
def test_files_that_cannot_be(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tapectl.toml"
    path.write_text(content)
    with pytest.raises(SettingError, match=message):
        Settings.load({}, path)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no such configuration file"):
        Settings.load({}, tmp_path / "none.toml")
    with pytest.raises(SettingError, match="no such configuration file"):
        Settings.load({"TAPECTL_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3260", ListenAddress("127.0.0.1", 3260)),
        ("0.0.0.0", ListenAddress("0.0.0.0", 3260)),
        ("[::]", ListenAddress("::", 3260)),
        ("[fe80::1]:0", ListenAddress("fe80::1", 0)),
        ("tape.example.org:1", ListenAddress("tape.example.org", 1)),
    ],
)
def test_addresses(text: str, address: ListenAddress) -> None:
    assert parse_listen(text) == address
    assert parse_listen(str(address)) == address


@pytest.mark.parametrize(
    "text", ["::1:3260", "[::1", "[::1]3260", ":3260", "host:x", "host:-1", ""]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_listen(text)


def _empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.toml"
    path.write_text("")
    return path
