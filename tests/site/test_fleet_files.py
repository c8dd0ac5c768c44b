"""sites.csv and batteries.csv: what they state, what is refused, and how files join the folder."""

import json
import math

import pytest

import sources
from vpp.runtime.config import load_config
from vpp.runtime.plant_settings import Tariff
from vpp.site.fleet_files import GridSite, read_fleet, read_sites, site_config, tariff_of
from vpp.site.sources import SourceError

SITES = """\
site_id,name,latitude,longitude,time_zone,price_area,import_limit_kw,export_limit_kw,tariff
north-1,Mill,49.6,6.1,Europe/Luxembourg,DE-LU,2000,inf,
north-2,,,,,,800,,325 Mon-Fri 07:00-20:00; 210
south-1,,,,,,,,"{""import_factor"": 1.19}"
"""
BATTERIES = """battery_id,site_id,capacity_kwh,charge_kw,discharge_kw,eta_charge
a,north-1,100,50,40,0.9
b,north-2,200,60,60,
"""


def test_a_site_has_what_its_row_states_and_else_what_the_configuration_says(config_file, tmp_path):
    store = {"battery:own": {"capacity_kwh": 10}, "battery:there": {"site_id": "north-2"}}
    config = load_config(
        config_file(site={"site_id": "north-1"}, grid={"export_limit_kw": 77}, **store)
    )
    path = tmp_path / "sites.csv"
    path.write_text(SITES)
    first, second, third = (site_config(config, site) for site in read_sites(path))
    assert (first.site.name, first.site.time_zone) == ("Mill", "Europe/Luxembourg")
    assert (first.grid.import_limit_kw, first.grid.export_limit_kw) == (2000.0, math.inf)
    assert (second.grid.import_limit_kw, second.grid.export_limit_kw) == (800.0, 77.0)
    assert second.site.time_zone == config.site.time_zone and second.site.name == "north-2"
    assert second.tariff.import_eur_per_mwh == "325 Mon-Fri 07:00-20:00; 210"
    assert second.tariff.export_eur_per_mwh == "market"
    assert third.tariff == Tariff(import_factor=1.19) and third.grid.import_limit_kw == 10000.0
    names = [[battery.battery_id for battery in one.batteries] for one in (first, second, third)]
    assert names == [["own"], ["there"], []]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("site_id,colour\na,red\n", "line 1: columns site_id,colour: expected site_id,name"),
        ("name\nMill\n", "line 1: columns name"),
        ("site_id\na\na\n", "line 3: site_id a stands in line 2 already"),
        ("site_id\n../a\n", "line 2: site_id = ../a"),
        ("site_id,import_limit_kw\na,-1\n", "line 2: import_limit_kw = -1"),
        ("site_id,import_limit_kw\na,many\n", "line 2: import_limit_kw = many: expected a finite"),
        ("site_id,import_limit_kw\na,nan\n", "line 2: import_limit_kw = nan"),
        ("site_id,latitude\na,inf\n", "line 2: latitude = inf"),
        ("site_id,latitude\na,91\n", "line 2: latitude = 91"),
        ("site_id,time_zone\na,Mars/Base\n", "line 2: time_zone = Mars/Base"),
        ("site_id,tariff\na,cheap\n", "line 2: tariff = cheap"),
        ('site_id,tariff\na,"{""colour"": 1}"\n', "expected keys of \\[tariff\\]"),
        ('site_id,tariff\na,"{""import_factor"": -1}"\n', "line 2: tariff"),
        ('site_id,tariff\na,"{""import_factor"": ""x""}"\n', "line 2: tariff"),
        ('site_id,tariff\na,"{"\n', "line 2: tariff"),
        ("site_id,name\na\n", "line 2: expected as many cells"),
        ("site_id,name\na,b,c\n", "line 2: expected as many cells"),
        ("site_id,name\n,b\n", "line 2: site_id = '': expected a value"),
    ],
)
def test_a_site_that_cannot_be_is_refused_with_its_line(tmp_path, text, told):
    path = tmp_path / "sites.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=told):
        read_sites(path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a,s,0,1,1", "capacity_kwh = 0"),
        ("a,s,1,-1,1", "charge_kw = -1"),
        ("a,,1,1,1", "site_id = ''"),
        ("a,s,1,1,inf", "discharge_kw = inf"),
        ("a,s,1,,1", "charge_kw = '': expected a value"),
        ("a b,s,1,1,1", "battery_id = a b"),
    ],
)
def test_a_battery_that_cannot_be_is_refused_with_its_line(tmp_path, row, told):
    path = tmp_path / "batteries.csv"
    path.write_text(f"battery_id,site_id,capacity_kwh,charge_kw,discharge_kw\n{row}\n")
    with pytest.raises(SourceError, match=f"line 2: {told}"):
        read_fleet(path)


def test_a_tariff_of_a_cell_keeps_what_it_does_not_state():
    general = Tariff(import_surcharge_eur_per_mwh=5.0)
    assert tariff_of("", general) == tariff_of(None, general) == general
    assert tariff_of("210", general).import_surcharge_eur_per_mwh == 5.0


def test_files_of_a_fleet_join_those_of_the_folder(config_file, tmp_path, capsys):
    path = config_file(**{"battery:own": {"capacity_kwh": 10}})
    folder = load_config(path).paths.data_dir
    for name, text in (("s.csv", SITES), ("b.csv", BATTERIES)):
        (tmp_path / name).write_text(text)
    (tmp_path / "more.csv").write_text(
        "battery_id,site_id,capacity_kwh,charge_kw,discharge_kw\nb,south-1,300,1,1\nc,north-1,1,1,1\n"
    )
    words = ["--config", str(path), "import-fleet", str(tmp_path / "b.csv")]
    assert sources.main(words) == 1  # its sites are not known yet
    assert "battery a: site north-1 is unknown" in capsys.readouterr().err
    assert not (folder / "batteries.csv").exists()
    assert sources.main([*words, "--sites", str(tmp_path / "s.csv")]) == 0
    assert sources.main(["--config", str(path), "import-fleet", str(tmp_path / "more.csv")]) == 0
    fleet = {one.battery.battery_id: one for one in read_fleet(folder / "batteries.csv")}
    assert sorted(fleet) == ["a", "b", "c"]
    assert fleet["a"].battery.eta_charge == 0.9 and fleet["b"].battery.eta_charge == 0.95
    assert (fleet["b"].site_id, fleet["b"].battery.capacity_kwh) == ("south-1", 300.0)
    assert read_sites(folder / "sites.csv")[0] == GridSite(
        "north-1", "Mill", 49.6, 6.1, "Europe/Luxembourg", "DE-LU", 2000.0, math.inf
    )
    capsys.readouterr()
    assert sources.main(["--config", str(path), "--json", "sites", "--site", "north-*"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["site_id"], row["batteries"]) for row in rows] == [("north-1", 2), ("north-2", 0)]
