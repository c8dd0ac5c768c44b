"""A configuration of one's own site by questions or flags, and a tariff added to one."""

import io

import pytest

import sources
from vpp.runtime.config import load_config

FLAGS = [
    "--name", "Our cabin", "--latitude", "47.5", "--longitude", "9.7", "--tz", "Europe/Vienna",
    "--country", "AT", "--grid-kw", "11", "--battery-kwh", "7.7", "--battery-kw", "3.5",
    "--import-price", "325 Mon-Fri 07:00-20:00; 210", "--export-price", "80", "--currency", "EUR",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(monkeypatch, *lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def check_cabin(path, capsys):
    config = load_config(path, environment={})
    assert config.site.site_id == "our-cabin"
    assert (config.site.latitude, config.site.holidays_country) == (47.5, "AT")
    assert config.paths.data_dir == path.parent / "data" / "our-cabin"
    [battery] = config.batteries
    assert (battery.capacity_kwh, battery.charge_kw, battery.discharge_kw) == (7.7, 3.5, 3.5)
    assert not config.tariff.needs_market
    assert config.grid.export_limit_kw == 11
    out = capsys.readouterr().out
    commands = [line.strip() for line in out.splitlines() if line.startswith("  python ")]
    assert len(commands) == 3
    assert all(f"--config {path.name}" in line for line in commands)
    assert "--price" not in out


def test_flags_write_it_without_a_question(folder, capsys, monkeypatch):
    answer(monkeypatch)
    assert sources.main(["init", "cabin.ini", *FLAGS]) == 0
    check_cabin(folder / "cabin.ini", capsys)


def test_answers_write_the_same_and_a_wrong_one_is_asked_again(folder, capsys, monkeypatch):
    answer(monkeypatch, "Our cabin", "147", "47.5", "9.7", "Vienna", "Europe/Vienna", "AT", "11",
           "7.7", "3.5", "325 7-20; 210", "325 Mon-Fri 07:00-20:00; 210", "80", "")  # fmt: skip
    assert sources.main(["init"]) == 0
    err = capsys.readouterr()
    assert err.err.count("expected") == 4  # the price's says it twice
    assert "three commands" in err.out
    assert sources.main(["init", "other.ini", *FLAGS]) == 0
    written = [(folder / name).read_text() for name in ("our-cabin.ini", "other.ini")]
    assert written[0] == written[1]


def test_without_answers_the_defaults_make_a_site_of_the_market(folder, capsys, monkeypatch):
    answer(monkeypatch)
    assert sources.main(["init", "--battery-kwh", "0"]) == 0
    config = load_config(folder / "my-site.ini", environment={})
    assert config.batteries == ()
    assert config.tariff.needs_market
    assert "--price price:EUR/MWh" in capsys.readouterr().out


def test_a_file_that_is_there_stays(folder, capsys):
    (folder / "a.ini").write_text("mine")
    assert sources.main(["init", "a.ini", "--yes"]) == 2
    assert (folder / "a.ini").read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert sources.main(["init", "a.ini", "--yes", "--force"]) == 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--latitude", "91"), ("--tz", "Mars/Base"), ("--country", "XX"), ("--battery-kw", "-1"),
     ("--battery-kwh", "ten"), ("--import-price", "cheap"), ("--currency", "a b"), ("--name", "?")],
)  # fmt: skip
def test_a_wrong_flag_writes_nothing(folder, capsys, flag, value):
    assert sources.main(["init", "a.ini", "--yes", flag, value]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert flag in line
    assert "expected" in line
    assert not list(folder.iterdir())


def test_a_tariff_goes_into_the_configuration(folder, capsys):
    path = folder / "a.ini"
    tariff = "[tariff]\n# old\nimport_eur_per_mwh = 300 Sat;\n  200\n"
    path.write_text(f"# mine\n{tariff}\n[grid]\nimport_limit_kw = 9\n")
    add = ["--config", str(path), "add", "--kind", "tariff"]
    assert sources.main([*add, "--import-price", "325 07:00-20:00; 210", "--currency", "AUD"]) == 0
    config = load_config(path, environment={})
    assert config.tariff.import_eur_per_mwh == "325 07:00-20:00; 210"
    assert (config.tariff.currency, config.grid.import_limit_kw) == ("AUD", 9)
    text = path.read_text()
    assert text.count("[tariff]") == 1
    peaks = "5 Mon-Fri 08:00-20:00; 48 15min year"
    assert sources.main([*add, "--peaks", peaks]) == 0
    assert load_config(path, environment={}).tariff.peaks_eur_per_kw == peaks
    path.write_text(text)
    assert "# mine" in text
    assert "# old" in text
    assert sources.main([*add, "--import-price", "cheap"]) == 2
    assert sources.main(add) == 2
    assert path.read_text() == text
    path.write_text("[grid]\nimport_limit_kw = 9\n")
    assert sources.main([*add, "--export-price", "80"]) == 0
    assert load_config(path, environment={}).tariff.export_eur_per_mwh == "80"
