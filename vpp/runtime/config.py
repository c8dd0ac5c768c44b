"""Reads config.ini, once, into frozen dataclasses.

`load_config(path)` returns a `Config` with one attribute for each section of the file and the
devices of its `[battery:NAME]` sections and their like. Functions get values from it, never the
configuration itself. Every key has a default, so a file names only what differs. Addresses and
secrets may come from the environment instead (`ENVIRONMENT`). Relative paths are relative to the
file. Whatever is wrong ends as a `ConfigError`: one line with file, section, key, value and what is
expected.

    python -c "from vpp.runtime.config import load_config; print(load_config().site)"
"""

import configparser
import dataclasses
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from vpp.runtime.errors import ConfigError, FieldError, one_of
from vpp.runtime.settings import (
    NAMED,
    READINGS,
    SECTIONS,
    Config,
)

DEFAULT_PATH = Path(__file__).resolve().parents[2] / "config.ini"  # beside the scripts

ENVIRONMENT = {
    "VPP_DATABASE_URL": ("database", "url"),
    "VPP_KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "VPP_KAFKA_SECURITY_PROTOCOL": ("kafka", "security_protocol"),
    "VPP_KAFKA_SASL_MECHANISM": ("kafka", "sasl_mechanism"),
    "VPP_KAFKA_SASL_USERNAME": ("kafka", "sasl_username"),
    "VPP_KAFKA_SASL_PASSWORD": ("kafka", "sasl_password"),
    "VPP_MLFLOW_TRACKING_URI": ("mlflow", "tracking_uri"),
    "VPP_ENTSOE_KEY": ("connect", "entsoe_key"),
    "VPP_MQTT_URL": ("mqtt", "url"),
    "VPP_SERVE_HOST": ("serve", "host"),
    "VPP_SERVE_TOKEN": ("serve", "token"),
    "VPP_ALERTS_WEBHOOK_URL": ("alerts", "webhook_url"),
    "VPP_SMTP_PASSWORD": ("alerts", "smtp_password"),
}
FILE = "_FILE"  # ends the name of a variable that names a file with the value, such as a secret
SECRET_KEYS = {"url", "sasl_password", "ssl_key_password", "tracking_uri", "entsoe_key"} | {
    "webhook_url",
    "smtp_password",
    "token",
}
UNLIMITED_KEYS = {"import_limit_kw", "export_limit_kw"}  # these may be inf
EXPECTED = {
    float: "a finite number",
    int: "a whole number",
    date: "a date such as 2025-01-01",
    tuple: "names separated by commas",
}
SITE = "site_id"  # key of a device's section that names its site
CLIENT = "kafka.client"  # the section of librdkafka's settings
# librdkafka's settings that `[kafka]` or the stream's promises decide -> what to do
DECIDED = {
    "bootstrap.servers": "name them in [kafka] bootstrap_servers",
    "metadata.broker.list": "name them in [kafka] bootstrap_servers",
    "group.id": "name it in [kafka] group_id",
    "enable.auto.commit": "the sink commits what is stored",
    "auto.offset.reset": "the sink counts what is lost",
    "enable.idempotence": "nothing is sent twice",
    "acks": "a message counts when all brokers have it",
    "delivery.report.only.error": "nothing is lost in silence",
    "transactional.id": "the producer opens no transactions",
}


def load_config(
    path: Path | str | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """Read the configuration file.

    Parameters
    ----------
    path : the file; default `config.ini` beside the scripts. Where the package is installed and
        there are no scripts, every key has its default, and paths are relative to the working
        folder.
    environment : variables that override keys (`ENVIRONMENT`), or with `_FILE` behind their names
        name files with the values; default `os.environ`.

    Raises
    ------
    ConfigError : the file is missing or not an INI file, a section or key is unknown, a value has
        the wrong type or is impossible.
    """
    environment = os.environ if environment is None else environment
    if path is None and not DEFAULT_PATH.exists():
        path, parser = Path("config.ini"), _new_parser()
    else:
        path = Path(path or DEFAULT_PATH)
        parser = _read(path)
    _check_names(path, parser)
    values = {name: dict(parser[name]) if name in parser else {} for name in SECTIONS}
    origin = {}
    for variable, (section, key) in ENVIRONMENT.items():
        if value := _of_environment(environment, variable):
            values[section][key] = value
            origin[section, key] = f"environment variable {variable}"
    reader = _Reader(path, path.resolve().parent, origin)
    sections = {name: reader.section(cls, name, values[name]) for name, cls in SECTIONS.items()}
    devices: dict[str, Any] = {}
    sites: dict[str, str] = {}
    for word, (attribute, cls, key) in NAMED.items():
        found = []
        for name, own in _names(parser, word).items():
            raw = dict(parser[name])
            if site := raw.pop(SITE, "").strip():
                sites[own] = site
            found.append(reader.section(cls, name, raw, **{key: own}))
        devices[attribute] = tuple(found)
    client = dict(parser[CLIENT]) if CLIENT in parser else {}
    for name in client.keys() & DECIDED:
        raise ConfigError(f"{path}: [{CLIENT}] {name} cannot be set here: {DECIDED[name]}")
    kafka_client = tuple(client.items())
    return Config(path, **devices, kafka_client=kafka_client, device_sites=sites, **sections)


def _of_environment(environment: Mapping[str, str], variable: str) -> str:
    """The value of a variable, or what the file holds that `<variable>_FILE` names."""
    name, value = environment.get(variable + FILE), environment.get(variable, "")
    if not name:
        return value
    if value:
        raise ConfigError(f"{variable} and {variable}{FILE} are both set; expected one of them")
    try:
        text = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not in UTF-8"
        raise ConfigError(
            f"environment variable {variable}{FILE} = {name}: cannot be read: {reason}"
        ) from None
    if not text:
        raise ConfigError(f"environment variable {variable}{FILE} = {name}: expected a value in it")
    return text


def _new_parser() -> configparser.ConfigParser:
    return configparser.ConfigParser(interpolation=None)


def _read(path: Path) -> configparser.ConfigParser:
    parser = _new_parser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such configuration file; name one with --config or copy config.ini "
            "from the project"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not in UTF-8"
        raise ConfigError(
            f"{path}: cannot be read: {reason}; expected a text file in UTF-8"
        ) from None
    except configparser.Error as error:
        raise ConfigError(f"{path}: not an INI file: {_parsing_problem(error)}") from None
    return parser


def _parsing_problem(error: configparser.Error) -> str:
    """Say what is wrong in which line; the line itself is not shown, as it may hold a secret."""
    if isinstance(error, configparser.DuplicateOptionError):
        where = f"line {error.lineno}: [{error.section}] {error.option}"
        return f"{where} comes twice; expected each key once"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: [{error.section}] comes twice; expected each section once"
    if isinstance(error, configparser.MissingSectionHeaderError):
        expected = "expected a section in brackets, such as [site], before the first key"
        return f"line {error.lineno}: {expected}"
    lines = ", ".join(str(number) for number, _ in getattr(error, "errors", ()))
    return f"line {lines}: expected [section] or key = value"


def _names(parser: configparser.ConfigParser, word: str) -> dict[str, str]:
    """Names of devices by the names of their sections, such as `[battery:NAME]`."""
    start = f"{word}:"
    names = [name for name in parser.sections() if name.startswith(start)]
    return {name: name.removeprefix(start).strip() for name in names}


def _check_names(path: Path, parser: configparser.ConfigParser) -> None:
    """Refuse sections that are unknown or come twice."""
    if parser.defaults():
        raise ConfigError(
            f"{path}: section [DEFAULT] is not used here; move its keys into the section they "
            "belong to"
        )
    named = {word: _names(parser, word) for word in NAMED}
    known = {name for names in named.values() for name, own in names.items() if own}
    for name in parser.sections():
        if name not in (*SECTIONS, CLIENT) and name not in known:
            others = [CLIENT] if "." in name else [f"{word}:NAME" for word in NAMED]
            expected = one_of(name, (*SECTIONS, *others))
            raise ConfigError(f"{path}: unknown section [{name}]; {expected}")
    seen: dict[tuple[str, str], str] = {}
    for word, names in named.items():
        for own in names.values():
            key = (word if word in READINGS else "", own)  # which may be named like a device
            if key in seen:
                first = f"two sections [{word}:{own}]"
                if seen[key] != word:
                    first = f"[{seen[key]}:{own}] and [{word}:{own}] have one name"
                raise ConfigError(f"{path}: {first}; expected a name of its own for each {word}")
            seen[key] = word


@dataclass(frozen=True)
class _Reader:
    """Makes dataclasses of sections.

    Parameters
    ----------
    path : the file, for messages.
    folder : that relative paths are relative to.
    origin : (section, key) -> where a value comes from, if not from the file.
    """

    path: Path
    folder: Path
    origin: Mapping[tuple[str, str], str]

    def section(self, cls: type, name: str, raw: Mapping[str, str], **given: str) -> Any:
        """One section as its dataclass; `given` are the fields that are no keys."""
        fields = {item.name: item for item in dataclasses.fields(cls) if item.name not in given}
        values = {
            key: self.folder / item.default
            for key, item in fields.items()
            if isinstance(item.default, Path)
        }
        for key, text in raw.items():
            if key not in fields:
                known = one_of(key, [*fields, *([SITE] if given else [])])
                raise ConfigError(f"{self.path}: [{name}] unknown key {key}; {known}")
            kind: Any = fields[key].type
            try:
                values[key] = _convert(text, kind, self.folder, key in UNLIMITED_KEYS)
            except ValueError:
                simple = typing.get_origin(kind) or kind
                expected = EXPECTED.get(simple, "a number, or nothing")
                raise self.refusal(name, key, text, expected) from None
        try:
            return cls(**given, **values)
        except FieldError as error:
            written = raw.get(error.key, str(error.value))  # as written: 95, not 95.0
            raise self.refusal(name, error.key, written, error.expected) from None

    def refusal(self, section: str, key: str, value: str, expected: str) -> ConfigError:
        """The error that refuses a value; it shows no secret, nor lines that may hold one."""
        place = self.origin.get((section, key), f"{self.path}: [{section}]")
        shown = "(several lines)" if "\n" in value else value
        if key in SECRET_KEYS:
            shown = "(hidden)"
        return ConfigError(f"{place} {key} = {shown}: expected {expected}")


def _convert(text: str, kind: Any, folder: Path, unlimited: bool = False) -> Any:
    """A value of the file as its field's type; raises ValueError where it is none."""
    if isinstance(kind, types.UnionType):
        return _convert(text, typing.get_args(kind)[0], folder) if text else None
    if kind is Path:
        if not text:
            raise ValueError(text)
        return folder / Path(text).expanduser()
    if kind is date:
        return date.fromisoformat(text)
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    value = kind(text)
    if kind is float and (math.isnan(value) or (math.isinf(value) and not unlimited)):
        raise ValueError(text)
    return value
