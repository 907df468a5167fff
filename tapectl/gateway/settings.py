"""Settings of the gateway: flag over environment over configuration file over default."""

from __future__ import annotations

import enum
import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Self

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.encryption import WORDS, TapeEncryption, choose_encryption
from tapectl.units import GIB, MIB, format_size, parse_size

ENVIRONMENT_PREFIX = "TAPECTL_"
ISCSI_PORT = 3260


FLAG = "flag"
"""The source of a value from the command line: a wrong one is an error of usage."""


class SettingError(TapectlError):
    """A setting has a value that cannot be used, or is not known."""

    exit_code = ExitCode.SETTING_INVALID
    code = "setting_invalid"


class LogFormat(enum.StrEnum):
    """How `serve` writes its log."""

    TEXT = "text"
    JSON = "json"


class FrontEndKind(enum.StrEnum):
    """By which target initiators reach the devices."""

    USER = "user"
    LIO = "lio"
    AUTO = "auto"


class Fabric(enum.StrEnum):
    """How the kernel's target shows the devices; a value is the name of rtslib's fabric module."""

    ISCSI = "iscsi"
    LOOPBACK = "loopback"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address the portal listens on; `host` without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A setting, its value as it is written, and where the value comes from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, checked."""

    # The SQLite file; its directory also holds the lock and the sockets.
    state_path: Path
    # Where the portal listens.
    listen: tuple[ListenAddress, ...]
    # Our own target (user), the kernel's (lio), or the kernel's where this host has it (auto).
    frontend: FrontEndKind
    # How the kernel's target shows the devices: over iSCSI, or to this host only (loopback).
    fabric: Fabric
    # How long an ejected tape stays in its import/export element, cancellable; 0 as AWS does.
    hold_s: float
    # Size at which a segment is sealed.
    segment_bytes: int
    # Uploads at the same time.
    upload_workers: int
    # An open segment that nobody has written to for so long is sealed and uploaded.
    seal_idle_s: float
    # Percent of a cache disk above which uploaded segments are evicted.
    cache_high_watermark_percent: int
    # zstd between the upload buffer and the store.
    compression: bool
    # Archived segments are put together into objects of about this size.
    archive_object_bytes: int
    # How long a directory store pretends that retrieving takes.
    directory_retrieval_delay_s: float
    # Time between looks at a retrieval that is under way.
    retrieval_poll_s: float
    # How long a restored copy is asked to stay readable; extended while the tape is here.
    retrieval_days: int
    # What was overwritten stays in the store for so long, so that it can be undone.
    keep_overwritten_days: float
    # How long a command waits for room or for data from the store before BUSY.
    busy_timeout_s: float
    # A connection that is silent for so long is asked for a sign of life, and closed when it
    # stays silent as long again.
    ping_interval_s: float
    # Initiators that send the next command sooner than this are waited for awake; 0: none.
    busy_poll_us: int
    # How long initiators may take to log out when the gateway stops serving.
    logout_wait_s: float
    # Percent of a partition that is left when a drive warns of its end.
    early_warning_percent: float
    # An outage of the store or full disks are an alert when they last longer than this.
    alert_after_s: float
    # Every tape is verified so often by itself; 0: never.
    scrub_days: float
    # Whether that reads the copies in the store too, which costs requests and traffic.
    scrub_store: bool
    # How fast verifying reads, all copies together.
    verify_bytes_per_s: int
    # Show the whole library as one target too: LUN 0 the changer, LUN k drive k.
    library_target: bool
    # Where `serve` answers Prometheus; none: nowhere.
    metrics_listen: tuple[ListenAddress, ...]
    # File that gets a line of JSON for each event; None: there is none.
    event_log: Path | None
    # Programs in it are run for each event; it need not be there.
    hooks_dir: Path
    # Each event is posted there.
    webhook_urls: tuple[str, ...]
    # Events are kept for so long.
    keep_events_days: float
    # How `serve` writes its log.
    log_format: LogFormat
    # User that `serve` becomes once its ports are bound; empty: it stays who it is.
    user: str
    # How new tapes are encrypted in the store: SSE-S3, SSE-KMS, or NONE: as the store does.
    encryption: str
    # Key of SSE-KMS for new tapes; empty: the default one of the store.
    kms_key: str
    # Listen beyond loopback without CHAP or an initiator list.
    allow_anonymous: bool
    # Name of each setting -> where its value comes from.
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(
        cls, environ: Mapping[str, str], config_path: Path | None = None, **flags: object
    ) -> Self:
        """Collect the settings; a flag that is None was not given.

        `config_path` must exist; without it the default file is read where there is one.
        Raises SettingError.
        """
        if unknown := flags.keys() - _SPECS.keys():
            raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
        path, config = _read_config(environ, config_path)
        values: dict[str, object] = {}
        sources: dict[str, str] = {}
        for name, spec in _SPECS.items():
            variable = ENVIRONMENT_PREFIX + spec.variable
            if (flag := flags.get(name)) is not None:
                raw, source = flag, FLAG
            elif variable in environ:
                raw, source = environ[variable], f"environment {variable}"
            elif name in config:
                raw, source = config[name], f"file {path}"
            else:
                raw, source = spec.default(environ), "default"
            values[name] = spec.parse(name, raw, source)
            sources[name] = source
        return cls(**values, sources=MappingProxyType(sources))  # type: ignore[arg-type]  # by table

    @property
    def tape_encryption(self) -> TapeEncryption:
        """How new tapes are encrypted where nobody asks for anything else."""
        return choose_encryption(None, None, default_word=self.encryption, default_key=self.kms_key)

    def describe(self) -> Sequence[SettingValue]:
        """Return every setting with its value and the place it comes from."""
        return [
            SettingValue(name, _text(getattr(self, name)), self.sources.get(name, "given"))
            for name in _SPECS
        ]

    def to_json(self) -> str:
        """Return the settings for a child process."""
        return json.dumps({name: _plain(getattr(self, name)) for name in _SPECS})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the settings a parent process wrote with `to_json`."""
        return cls.load({}, Path(os.devnull), **json.loads(text))


def parse_listen(text: str) -> ListenAddress:
    """Return the address that `127.0.0.1:3260`, `[::1]:3260` or `0.0.0.0` stands for.

    The port may be left out: 3260. Port 0 lets the system choose. Raises UsageError.
    """
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        bad = not bracket or (rest != "" and not rest.startswith(":"))
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
        bad = ":" in port
    port = port or str(ISCSI_PORT)
    if bad or not host or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise UsageError(
            f"not an address to listen on: {text}", hint="as in 127.0.0.1:3260 or [::1]:3260"
        )
    return ListenAddress(host, int(port))


def _parse_path(name: str, raw: object, source: str) -> Path:
    if not isinstance(raw, str | Path) or not str(raw):
        raise _bad(name, raw, source, "want a path")
    return Path(raw).expanduser().absolute()


def _parse_optional_path(name: str, raw: object, source: str) -> Path | None:
    return None if raw == "" else _parse_path(name, raw, source)


def _parse_urls(name: str, raw: object, source: str) -> tuple[str, ...]:
    texts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(texts, list | tuple):
        raise _bad(name, raw, source, "want addresses")
    urls = tuple(text.strip() for text in map(str, texts) if text.strip())
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise _bad(name, url, source, "want http://... or https://...")
    return urls


def _choice(words: type[enum.StrEnum]) -> Callable[[str, object, str], enum.StrEnum]:
    def parse(name: str, raw: object, source: str) -> enum.StrEnum:
        try:
            return words(str(raw).lower())
        except ValueError:
            raise _bad(name, raw, source, f"want {' or '.join(words)}") from None

    return parse


def _parse_word(name: str, raw: object, source: str) -> str:
    if not isinstance(raw, str) or raw != raw.strip():
        raise _bad(name, raw, source, "want a name")
    return raw


def _one_of(words: Sequence[str]) -> Callable[[str, object, str], str]:
    def parse(name: str, raw: object, source: str) -> str:
        if str(raw).upper() not in words:
            raise _bad(name, raw, source, f"want {', '.join(words)}")
        return str(raw).upper()

    return parse


def _parse_listeners(name: str, raw: object, source: str) -> tuple[ListenAddress, ...]:
    texts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(texts, list | tuple) or not texts:
        raise _bad(name, raw, source, "want one address or more")
    try:
        return tuple(parse_listen(str(text)) for text in texts)
    except UsageError as exc:
        raise _bad(name, raw, source, exc.hint or exc.message) from exc


def _parse_metrics_listeners(name: str, raw: object, source: str) -> tuple[ListenAddress, ...]:
    """Return the addresses; a port alone is one of loopback, and nothing is none."""
    texts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(texts, list | tuple):
        texts = [raw]
    named = [str(text).strip() for text in texts if str(text).strip()]
    local = [f"127.0.0.1:{text}" if text.isdigit() else text for text in named]
    return _parse_listeners(name, local, source) if local else ()


def _number_between(minimum: float, maximum: float) -> Callable[[str, object, str], float]:
    def parse(name: str, raw: object, source: str) -> float:
        try:
            value = float(raw)  # type: ignore[arg-type]  # a TypeError is what is asked for
        except (TypeError, ValueError):
            raise _bad(name, raw, source, "want a number") from None
        if isinstance(raw, bool) or not minimum <= value <= maximum:
            raise _bad(name, raw, source, f"want {minimum:g} to {maximum:g}")
        return value

    return parse


def _integer_between(minimum: int, maximum: int) -> Callable[[str, object, str], int]:
    def parse(name: str, raw: object, source: str) -> int:
        value = _number_between(minimum, maximum)(name, raw, source)
        if value != int(value):
            raise _bad(name, raw, source, "want a whole number")
        return int(value)

    return parse


def _size_between(minimum: int, maximum: int) -> Callable[[str, object, str], int]:
    def parse(name: str, raw: object, source: str) -> int:
        try:
            value = parse_size(str(raw))
        except UsageError as exc:
            raise _bad(name, raw, source, exc.hint or exc.message) from exc
        if not minimum <= value <= maximum:
            limits = f"{format_size(minimum)} to {format_size(maximum)}"
            raise _bad(name, raw, source, f"want {limits}")
        return value

    return parse


_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip


def _parse_boolean(name: str, raw: object, source: str) -> bool:
    value = _BOOLEANS.get(str(raw).lower())
    if value is None:
        raise _bad(name, raw, source, "want true or false")
    return value


def _bad(name: str, raw: object, source: str, want: str) -> SettingError | UsageError:
    text = ", ".join(map(str, raw)) if isinstance(raw, list | tuple) else raw
    if source == FLAG:
        return UsageError(f"--{name.replace('_', '-')} cannot be this: {text}", hint=want)
    return SettingError(f"setting {name} ({source}) cannot be used: {text}", hint=want)


def _default_state_path(environ: Mapping[str, str]) -> str:
    if os.geteuid() == 0:
        return "/var/lib/tapectl/tapectl.db"
    base = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME', '~')}/.local/state"
    return f"{base}/tapectl/tapectl.db"


def _default_config_path(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/etc/tapectl/tapectl.toml")
    base = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '~')}/.config"
    return Path(base).expanduser() / "tapectl" / "tapectl.toml"


def _default_hooks_dir(environ: Mapping[str, str]) -> Path:
    return _default_config_path(environ).with_name("hooks.d")


def _read_config(
    environ: Mapping[str, str], config_path: Path | None
) -> tuple[Path, Mapping[str, object]]:
    named = config_path or environ.get(ENVIRONMENT_PREFIX + "CONFIG")
    path = Path(named) if named else _default_config_path(environ)
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        if named:
            raise SettingError(
                f"no such configuration file: {path}", hint="see --config and TAPECTL_CONFIG"
            ) from exc
        return path, {}
    except OSError as exc:
        raise SettingError(
            f"cannot read the configuration file ({exc.strerror}): {path}",
            hint="name another with --config; without one it is the one in your own HOME",
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingError(
            f"the configuration file is no TOML ({exc}): {path}", hint="see `man tapectl.conf`"
        ) from exc
    if unknown := sorted(config.keys() - _SPECS.keys()):
        raise SettingError(
            f"unknown settings in {path}: {', '.join(unknown)}",
            hint=f"known are {', '.join(_SPECS)}",
        )
    return path, config


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class _Spec:
    parse: Callable[[str, object, str], object]
    default: Callable[[Mapping[str, str]], object]
    variable: str


def _spec(
    name: str, parse: Callable[[str, object, str], object], default: object
) -> tuple[str, _Spec]:
    return name, _Spec(parse, lambda _environ: default, name.upper())


_DAY_S = 86400

# fmt: off
_SPECS: Mapping[str, _Spec] = MappingProxyType(dict((
    ("state_path", _Spec(_parse_path, _default_state_path, "STATE")),
    #     setting                         values                            default
    _spec("listen",                       _parse_listeners,                 "127.0.0.1:3260"),
    _spec("frontend",                     _choice(FrontEndKind),            "user"),
    _spec("fabric",                       _choice(Fabric),                  "iscsi"),
    _spec("hold_s",                       _number_between(0, _DAY_S),       60),
    _spec("segment_bytes",                _size_between(MIB, 256 * MIB),    64 * MIB),
    _spec("upload_workers",               _integer_between(1, 64),          2),
    _spec("seal_idle_s",                  _number_between(0.1, _DAY_S),     30),
    _spec("cache_high_watermark_percent", _integer_between(1, 100),         80),
    _spec("compression",                  _parse_boolean,                   True),
    _spec("archive_object_bytes",         _size_between(MIB, 256 * GIB),    32 * GIB),
    _spec("directory_retrieval_delay_s",  _number_between(0, 7 * _DAY_S),   10),
    _spec("retrieval_poll_s",             _number_between(0.05, _DAY_S),    60),
    _spec("retrieval_days",               _integer_between(1, 365),         7),
    _spec("keep_overwritten_days",        _number_between(0, 36_500),       30),
    _spec("busy_timeout_s",               _number_between(0, 3600),         20),
    _spec("ping_interval_s",              _number_between(1, 3600),         60),
    _spec("busy_poll_us",                 _integer_between(0, 10_000),      100),
    _spec("logout_wait_s",                _number_between(0, 60),           3),
    _spec("early_warning_percent",        _number_between(0, 50),           1),
    _spec("alert_after_s",                _number_between(0, _DAY_S),       60),
    _spec("scrub_days",                   _number_between(0, 3650),         30),
    _spec("scrub_store",                  _parse_boolean,                   False),
    _spec("verify_bytes_per_s",           _size_between(MIB, 1 << 40),      100 * MIB),
    _spec("library_target",               _parse_boolean,                   False),
    _spec("metrics_listen",               _parse_metrics_listeners,         ""),
    _spec("event_log",                    _parse_optional_path,             ""),
    ("hooks_dir", _Spec(_parse_path, _default_hooks_dir, "HOOKS_DIR")),
    _spec("webhook_urls",                 _parse_urls,                      ""),
    _spec("keep_events_days",             _number_between(1, 36_500),       400),
    _spec("log_format",                   _choice(LogFormat),               "text"),
    _spec("user",                         _parse_word,                      ""),
    _spec("encryption",                   _one_of(WORDS),                   "NONE"),
    _spec("kms_key",                      _parse_word,                      ""),
    _spec("allow_anonymous",              _parse_boolean,                   False),
)))
# fmt: on
