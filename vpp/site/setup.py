"""Writes configurations: that of a new site and its battery, and a tariff into one that is there.

    python sources.py init cabin.ini
    python sources.py init cabin.ini --name Cabin --battery-kwh 10 --battery-kw 5 --yes
    python sources.py --config cabin.ini add --kind tariff --import-price "325 07:00-20:00; 210"

A question that a flag answers is not asked. Nothing is written before all of it is right.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError, FieldError
from vpp.runtime.files import replacing_file
from vpp.runtime.plant_settings import BatteryParameters, Grid, Tariff
from vpp.runtime.settings import Config, Site
from vpp.runtime.tables import shown

Values = Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """A question of the dialogue.

    Parameters
    ----------
    flag : that answers it.
    text : as it is asked.
    default : of the answer.
    check : refuses a wrong answer with a FieldError or ValueError.
    about : of the flag.
    """

    flag: str
    text: str
    default: str
    check: Callable[[str], Any]
    about: str

    @property
    def name(self) -> str:
        """As an attribute of the arguments."""
        return self.flag.replace("-", "_")


def _number(section: type, key: str) -> Callable[[str], Any]:
    """A check of a number that is a key of a section."""
    more = {"battery_id": "b"} if section is BatteryParameters else {}
    return lambda text: section(**more, **{key: float(text)})


def _name(text: str) -> None:
    if not slug(text):
        raise FieldError("name", text, "a name with letters or digits")


def _capacity(text: str) -> None:
    if float(text) != 0:
        BatteryParameters("b", capacity_kwh=float(text))


QUESTIONS = (
    Question("name", "Name of the site", "My site", _name, "name of the site"),
    Question(
        "latitude", "Latitude [degrees north]", "50.1", _number(Site, "latitude"), "of the site"
    ),
    Question(
        "longitude", "Longitude [degrees east]", "8.7", _number(Site, "longitude"), "of the site"
    ),
    Question(
        "tz",
        "Time zone",
        "Europe/Berlin",
        lambda text: Site(time_zone=text),
        "time zone of the site",
    ),
    Question(
        "country",
        "Country of its public holidays, such as DE; - for none",
        "DE",
        lambda text: Site(holidays_country="" if text == "-" else text),
        "country of its public holidays; -: none",
    ),
    Question(
        "grid-kw",
        "Largest power from and to the grid [kW]",
        "30",
        _number(Grid, "import_limit_kw"),
        "largest power from and to the grid",
    ),
    Question("battery-kwh", "Capacity of the battery [kWh]; 0 for none", "10", _capacity,
             "capacity of the battery; 0: none"),
    Question("battery-kw", "Largest power of the battery [kW]", "5",
             _number(BatteryParameters, "charge_kw"), "largest power of the battery"),
    Question(
        "import-price",
        "Price of a MWh from the grid (10 times ct/kWh), such as 325 07:00-20:00; 210; or market",
        "market",
        lambda text: Tariff(import_eur_per_mwh=text),
        "price from the grid: market, or prices by months, days and hours",
    ),
    Question("export-price", "Price of a MWh to the grid, such as 80; or market", "market",
             lambda text: Tariff(export_eur_per_mwh=text), "price to the grid, likewise"),
    Question("currency", "Currency", "EUR", lambda text: Tariff(currency=text), "label of money"),
)  # fmt: skip
PEAKS = Question("peaks", "", "", lambda text: Tariff(peaks_eur_per_kw=text),
                 "prices of peaks, such as 5 Mon-Fri 08:00-20:00; 48 15min year")  # fmt: skip
OF_TARIFF = ("import-price", "export-price", "currency")


def add_init_options(command: argparse.ArgumentParser) -> None:
    """Give the command `init` its options."""
    about = "configuration to write (default: the site's name with .ini)"
    command.add_argument("file", nargs="?", type=Path, metavar="FILE", help=about)
    for item in QUESTIONS:
        command.add_argument(f"--{item.flag}", metavar="X", help=item.about)
    command.add_argument("--yes", action="store_true", help="ask nothing: take the defaults")
    command.add_argument("--force", action="store_true", help="replace a file that is there")


def add_tariff_options(command: argparse.ArgumentParser) -> None:
    """Give the command `add` the options of a tariff."""
    for item in (*QUESTIONS, PEAKS):
        if item is PEAKS or item.flag in OF_TARIFF:
            about = f"of a tariff: {item.about}"
            command.add_argument(f"--{item.flag}", metavar="X", help=about)


def init_command(args: argparse.Namespace, _: Config) -> None:
    """Ask for what no flag says, write the configuration, and print the next three commands.

    Parameters
    ----------
    args : of `add_init_options`.

    Raises
    ------
    ConfigError : a flag has an impossible value, or the file is there.
    """
    answers = {item.name: _checked(item, getattr(args, item.name)) for item in QUESTIONS
               if getattr(args, item.name) is not None}  # fmt: skip
    for item in QUESTIONS:
        if item.name not in answers:
            has_no = item.flag == "battery-kw" and float(answers["battery_kwh"]) == 0
            answers[item.name] = item.default if args.yes or has_no else _ask(item)
    path = args.file or Path(f"{slug(answers['name'])}.ini")
    if path.exists() and not args.force:
        raise ConfigError(f"{shown(path)}: is there already; name another file, or add --force")
    text = config_text(answers)
    with replacing_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
        _load(partial, path)
    print(f"{shown(path)} written; the next three commands:")
    for line in next_commands(answers, path):
        print(f"  {line}")


def _checked(item: Question, text: str) -> str:
    try:
        item.check(text)
    except (FieldError, ValueError) as error:
        raise ConfigError(f"--{item.flag} {text}: {_expected(error)}") from None
    return text


def _expected(error: Exception) -> str:
    return f"expected {error.expected if isinstance(error, FieldError) else 'a number'}"


def _ask(item: Question) -> str:
    """The answer to a question; asked again until it is right, at the end of input the default."""
    while True:
        print(f"{item.text} [{item.default}]: ", end="", flush=True, file=sys.stderr)
        line = sys.stdin.readline()
        text = line.strip() or item.default
        try:
            item.check(text)
        except (FieldError, ValueError) as error:
            print(f"  {_expected(error)}", file=sys.stderr)
            continue
        if not line.endswith("\n"):
            print(file=sys.stderr)
        return text


def slug(name: str) -> str:
    """A name as a part of names of files and sources.

    Parameters
    ----------
    name : as a person writes it.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]


def config_text(answers: Values) -> str:
    """The configuration of a site.

    Parameters
    ----------
    answers : name of a question -> its answer.
    """
    own = slug(answers["name"])
    country = "" if answers["country"] == "-" else answers["country"]
    sections: dict[str, dict[str, str]] = {
        "paths": {"data_dir": f"data/{own}", "state_dir": f".vpp/{own}"},
        "site": {
            "site_id": own,
            "name": answers["name"],
            "latitude": answers["latitude"],
            "longitude": answers["longitude"],
            "time_zone": answers["tz"],
            "holidays_country": country,
        },
        "grid": {
            "import_limit_kw": answers["grid_kw"],
            "export_limit_kw": answers["grid_kw"],
            "import_fee_eur_per_mwh": "0",
        },
        "tariff": tariff_keys(answers),
    }
    if float(answers["battery_kwh"]):
        sections["battery:battery"] = {
            "capacity_kwh": answers["battery_kwh"],
            "charge_kw": answers["battery_kw"],
            "discharge_kw": answers["battery_kw"],
        }
    parts = [
        "\n".join([f"[{name}]", *(f"{key} = {value}".rstrip() for key, value in keys.items())])
        for name, keys in sections.items()
    ]
    return "\n\n".join(parts) + "\n"


def tariff_keys(answers: Mapping[str, str | None]) -> dict[str, str]:
    """The keys of `[tariff]` that are answered.

    Parameters
    ----------
    answers : name of a question -> its answer.
    """
    keys = {
        "import_eur_per_mwh": answers.get("import_price"),
        "export_eur_per_mwh": answers.get("export_price"),
        "peaks_eur_per_kw": answers.get("peaks"),
        "currency": answers.get("currency"),
    }
    return {key: value for key, value in keys.items() if value is not None}


def next_commands(answers: Values, path: Path) -> list[str]:
    """The commands that come next: import, run, look.

    Parameters
    ----------
    answers : name of a question -> its answer.
    path : of the configuration.
    """
    own, file = slug(answers["name"]), shown(path)
    needs_market = "market" in (answers["import_price"], answers["export_price"])
    price = " --price price:EUR/MWh" if needs_market else ""
    return [
        f"python sources.py --config {file} import meter.csv --tz {answers['tz']} "
        f"--load load:kW:{own}-load --solar pv:kW:{own}-roof{price}",
        f"python pipeline.py --config {file} --data data/{own}",
        f"python report.py --config {file} --open",
    ]


def add_tariff(args: argparse.Namespace, config: Config) -> None:
    """Write a tariff into the configuration.

    Parameters
    ----------
    args : of `add_tariff_options`.
    config : names the file.

    Raises
    ------
    ConfigError : a price is wrong, or none is said.
    """
    items = [*(item for item in QUESTIONS if item.flag in OF_TARIFF), PEAKS]
    answers = {item.name: getattr(args, item.name) for item in items}
    for item in items:
        if answers[item.name] is not None:
            _checked(item, answers[item.name])
    keys = tariff_keys(answers)
    if not keys:
        raise ConfigError(
            '--kind tariff: say --import-price or --peaks, such as "325 07:00-20:00; 210"'
        )
    text = with_keys(config.path.read_text(encoding="utf-8-sig"), "tariff", keys)
    with replacing_file(config.path) as partial:
        partial.write_text(text, encoding="utf-8")
        _load(partial, config.path)
    told = ", ".join(f"{key} = {value}" for key, value in keys.items())
    print(f"{shown(config.path)}: [tariff] {told}")


def with_keys(text: str, section: str, keys: Values) -> str:
    """The text of a configuration with some keys of a section set; all else stays.

    Parameters
    ----------
    text : of the file.
    section : its name.
    keys : and their values.
    """
    lines, left, inside, found = [], dict(keys), False, False
    skips = False  # lines that go on with a value that was replaced

    def rest() -> list[str]:
        return [f"{key} = {left.pop(key)}" for key in list(left)]

    for line in text.splitlines():
        if line.startswith("["):
            if inside:
                lines += rest()
            inside = line.strip() == f"[{section}]"
            found, skips = found or inside, False
        key = line.partition("=")[0].strip() if inside and "=" in line else ""
        if skips and line[:1] in (" ", "\t"):
            continue
        skips = key in keys and not line.startswith(("#", ";", " ", "\t"))
        if not skips:
            lines.append(line)
        elif key in left:
            lines.append(f"{key} = {left.pop(key)}")
    if left and not found:
        lines += ["", f"[{section}]"]
    return "\n".join(lines + rest()) + "\n"


def _load(partial: Path, path: Path) -> None:
    """Refuse a file that the scripts could not read, under its own name."""
    try:
        load_config(partial, environment={})
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(partial), str(path))) from None
