import configparser
import dataclasses
import inspect
import re
from datetime import date
from pathlib import Path

import pytest

from vpp.runtime import config, terminal
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.runtime.flexible_settings import (
    DeferrableParameters,
    HeatParameters,
    VehicleParameters,
)
from vpp.runtime.settings import NAMED, SECTIONS, BatteryParameters


def write(tmp_path, text):
    path = tmp_path / "my.ini"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_shows_every_key_with_its_default():
    loaded = load_config(environment={})
    for name, cls in SECTIONS.items():
        if name != "paths":
            assert getattr(loaded, name) == cls(), name
    assert loaded.batteries == (BatteryParameters("battery-1"),)
    raw = configparser.ConfigParser(interpolation=None)
    raw.read_string(uncommented())
    for name, cls in SECTIONS.items():
        assert list(raw[name]) == [item.name for item in dataclasses.fields(cls)], name
    for section, (_, cls, key) in named_sections(raw).items():
        assert {key, *raw[section]} == {item.name for item in dataclasses.fields(cls)}


def uncommented() -> str:
    """The text of config.ini with its flexible loads taken out of comments."""
    text = config.DEFAULT_PATH.read_text(encoding="utf-8")
    return re.sub(r"^#(?=[#\[]|\w+ =)", "", text, flags=re.MULTILINE)


def named_sections(parser: configparser.ConfigParser) -> dict:
    """Name of a section -> its line of NAMED, one of each kind."""
    sections = [name for name in parser.sections() if ":" in name]
    assert [name.partition(":")[0] for name in sections] == list(NAMED)
    return {name: NAMED[name.partition(":")[0]] for name in sections}


def test_flexible_loads_of_the_file_have_their_defaults(tmp_path):
    loaded = load_config(write(tmp_path, uncommented()), environment={})
    assert loaded.vehicles == (VehicleParameters("car"),)
    assert loaded.deferrable_loads == (DeferrableParameters("dishwasher"),)
    assert loaded.heat_stores == (HeatParameters("tank"),)


def test_the_file_tells_of_each_key_what_its_field_tells():
    comments, lines, section = {}, [], ""
    for line in uncommented().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#") and "=" in line:
            comments[section, line.partition("=")[0].strip()] = " ".join(lines)
        lines = [*lines, line[1:].strip()] if line.startswith("#") else []
    raw = configparser.ConfigParser(interpolation=None)
    raw.read_string(uncommented())
    named = {section: cls for section, (_, cls, _) in named_sections(raw).items()}
    names = {key for *_, key in NAMED.values()}
    for section, cls in {**SECTIONS, **named}.items():
        text = " ".join(inspect.getdoc(cls).split())
        for item in dataclasses.fields(cls):
            if item.name not in names:
                assert f" {item.name} : {comments[section, item.name]}." in text


def test_values_types_and_relative_paths(tmp_path):
    path = write(
        tmp_path,
        "[paths]\ndata_dir = here\n[generation]\nstart = 2024-02-29\n[training]\nmodels = "
        "arima, nbeats\n"
        "[database]\nurl = postgresql://u:50%@h/d\n[battery:B]\ncapacity_kwh = "
        "10\ncycles_per_day_max = 1.5\n",
    )
    loaded = load_config(path, environment={})
    assert loaded.paths.data_dir == tmp_path / "here"
    assert loaded.paths.state_dir == tmp_path / ".vpp"
    assert loaded.generation.start == date(2024, 2, 29)
    assert loaded.training.models == ("arima", "nbeats")
    assert loaded.database.url == "postgresql://u:50%@h/d"
    assert loaded.batteries[0].cycles_per_day_max == 1.5


def test_environment_wins(tmp_path):
    path = write(tmp_path, "[kafka]\nbootstrap_servers = a:1\n")
    assert (
        load_config(
            path, environment={"VPP_KAFKA_BOOTSTRAP_SERVERS": "b:2"}
        ).kafka.bootstrap_servers
        == "b:2"
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[databse]\nurl = x", ["[databse]", "database"]),
        ("[database]\nulr = x", ["[database]", "ulr", "url"]),
        ("[site]\nholidays_country = XX", ["[site]", "holidays_country", "XX", "a country's code"]),
        ("[generation]\ndays = many", ["[generation]", "days", "many", "whole number"]),
        ("[generation]\ndays = -3", ["[generation]", "days", "-3", "1 or more"]),
        ("[generation]\nstep_min = 7", ["[generation]", "step_min", "7", "5, 15, 30, 60"]),
        ("[generation]\nstart = 2025-02-30", ["[generation]", "start", "2025-02-30", "date"]),
        ("[site]\nlatitude = 95", ["[site]", "latitude", "95", "at most 90"]),
        ("[site]\ntime_zone = Mars/Olympus", ["[site]", "time_zone", "Mars/Olympus", "IANA"]),
        (
            "[battery:A]\nsoc_min = 0.9\nsoc_max = 0.5",
            ["[battery:A]", "soc_min", "0.9", "soc_max = 0.5"],
        ),
        ("[battery:A]\neta_charge = 95", ["[battery:A]", "eta_charge", "95", "at most 1"]),
        ("[battery:A]\ncapacity_kwh = nan", ["[battery:A]", "capacity_kwh", "nan", "number"]),
        ("[optimization]\nsolver = gurobi", ["[optimization]", "solver", "gurobi", "highs, cbc"]),
        (
            "[forecast]\nprice_publication = 25:00",
            ["[forecast]", "price_publication", "25:00", "HH:MM"],
        ),
        ("[forecast]\nprice_publication = ²:00", ["[forecast]", "price_publication", "HH:MM"]),
        ("[optimization]\ntime_limit_s = inf", ["[optimization]", "time_limit_s", "inf", "finite"]),
        (
            "[battery:A]\ncycles_per_day_max = inf",
            ["[battery:A]", "cycles_per_day_max", "inf", "number"],
        ),
        ("[grid]\nimport_fee_eur_per_mwh = 1e999", ["[grid]", "import_fee_eur_per_mwh", "finite"]),
        ("[battery:a]\n[vehicle:a]", ["[battery:a] and [vehicle:a]", "name of its own"]),
        ("[vehicle:a]\nstays = Mon 25:00-7:00", ["[vehicle:a]", "stays", "Mon 25:00-7:00"]),
        ("[vehicle:a]\nstays =", ["[vehicle:a]", "stays", "18:00-07:00"]),
        ("[vehicle:a]\nsoc_min = 0.9\nsoc_max = 0.5", ["[vehicle:a]", "soc_min", "0.5"]),
        ("[deferrable:a]\nwindow = Mo 8:00-9:00", ["window", "Mo 8:00-9:00"]),
        ("[deferrable:a]\nprofile_kw = 1, x", ["profile_kw", "1, x", "numbers"]),
        ("[deferrable:a]\nprofile_kw = 0, 0", ["profile_kw", "0, 0", "above 0"]),
        ("[deferrable:a]\ncontiguous = yes", ["min_power_kw", "contiguous"]),
        ("[deferrable:a]\ncontiguous = true", ["contiguous", "true", "no, yes"]),
        ("[deferrable:a]\nmin_power_kw = 3", ["min_power_kw", "3", "power_kw = 2"]),
        ("[heat:a]\ndemand_kw = 1, 2", ["demand_kw", "1, 2", "1 or 24"]),
        ("[heat:a]\ncop = -1", ["cop", "-1"]),
        ("[heat:a]\nenergy_initial_kwh = 30", ["energy_initial_kwh", "30", "capacity_kwh = 20"]),
        ("[battery:a]\n[battery: a]", ["[battery:a]", "name of its own"]),
        ("[battery:a]\n[batteries]", ["unknown section [batteries]", "battery:NAME"]),
        ("[battery: ]", ["unknown section [battery: ]", "battery:NAME"]),
        ("[DEFAULT]\nx = 1", ["[DEFAULT]"]),
        ("no section", ["INI"]),
        ("[site]\n[site]", ["INI"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, text, names):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load_config(path, environment={})
    message = str(raised.value)
    assert "\n" not in message
    for name in [path.name, *names]:
        assert name in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[kafka]\nsasl_pasword = hunter2",
            r"\[kafka\] unknown key sasl_pasword; expected one of .*sasl_password",
        ),
        ("sasl_password = hunter2\n[kafka]", r"line 1: expected a section in brackets"),
        (
            "[kafka]\nsasl_password hunter2\nhunter2",
            r"line 2, 3: expected \[section\] or key = value",
        ),
        (
            "[kafka]\nsasl_password = hunter2\nsasl_password = hunter2",
            r"line 3: \[kafka\] sasl_password comes twice",
        ),
        (
            "[kafka]\nsecurity_protocol = SSL\n sasl_password = hunter2",
            r"security_protocol = \(several lines\): expected one of",
        ),
    ],
)
def test_no_error_shows_a_secret(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=expected) as raised:
        load_config(write(tmp_path, text), environment={})
    assert "hunter2" not in str(raised.value)


def test_limits_of_the_grid_may_be_unlimited(tmp_path):
    grid = load_config(
        write(tmp_path, "[grid]\nimport_limit_kw = inf\nexport_limit_kw = inf"), environment={}
    ).grid
    assert grid.import_limit_kw == grid.export_limit_kw == float("inf")


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.ini: no such"):
        load_config(tmp_path / "nowhere.ini", environment={})


def test_an_installed_package_has_defaults_and_a_script_wants_its_file(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "site-packages" / "config.ini")
    loaded = load_config(environment={"VPP_KAFKA_BOOTSTRAP_SERVERS": "b:2"})
    assert loaded.paths.data_dir == tmp_path / "data"
    assert (loaded.path, loaded.batteries) == (Path("config.ini"), ())
    assert loaded.kafka.bootstrap_servers == "b:2"
    monkeypatch.setattr(terminal, "DEFAULT_PATH", config.DEFAULT_PATH)
    assert terminal.run_script(terminal.new_parser("x"), lambda args, config: 0, []) == 2
    assert "config.ini: no such configuration file; name one with --config" in (
        capsys.readouterr().err
    )


def test_a_secret_may_lie_in_a_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret%\n")
    given = {"VPP_KAFKA_SASL_PASSWORD_FILE": str(secret), "VPP_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    loaded = load_config(write(tmp_path, "[kafka]\nsasl_password = old"), given)
    assert (loaded.kafka.sasl_password, loaded.kafka.security_protocol) == ("s3cret%", "SASL_SSL")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"VPP_DATABASE_URL_FILE": "/nowhere/x"}, "VPP_DATABASE_URL_FILE = /nowhere/x: cannot be"),
        ({"VPP_DATABASE_URL_FILE": "EMPTY"}, "expected a value in it"),
        ({"VPP_DATABASE_URL_FILE": "EMPTY", "VPP_DATABASE_URL": "x"}, "are both set"),
    ],
)
def test_a_file_without_a_secret_is_refused(tmp_path, given, told):
    (tmp_path / "empty").write_text("\n")
    given = {name: value.replace("EMPTY", str(tmp_path / "empty")) for name, value in given.items()}
    with pytest.raises(ConfigError, match=told):
        load_config(write(tmp_path, ""), given)


def test_settings_of_the_kafka_client_are_passed_on(tmp_path):
    text = "[kafka.client]\nsasl.oauthbearer.method = oidc\nsocket.keepalive.enable = true\n"
    assert load_config(write(tmp_path, text), {}).kafka_client == (
        ("sasl.oauthbearer.method", "oidc"),
        ("socket.keepalive.enable", "true"),
    )


@pytest.mark.parametrize("name", config.DECIDED)
def test_what_the_stream_promises_is_no_setting(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"\[kafka\.client\] {name} cannot be set here: "):
        load_config(write(tmp_path, f"[kafka.client]\n{name} = 1"), {})
