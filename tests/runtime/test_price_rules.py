"""Rules of a contract: what they say, and which are refused."""

import re

import pytest

from vpp.runtime.errors import FieldError
from vpp.runtime.price_rules import HOLIDAYS, PriceRule, read_rules
from vpp.runtime.settings import Tariff


def test_a_contract_is_read_rule_by_rule():
    assert read_rules("325 Mon-Fri 07:00-20:00; 260 Nov-Mar; 210") == (
        PriceRule(325, None, frozenset({1, 2, 3, 4, 5}), ((420, 1200),)),
        PriceRule(260, frozenset({11, 12, 1, 2, 3})),
        PriceRule(210),
    )
    # lists, any case, a week and a day that go round, a price below 0
    assert read_rules("-1.5 jun,Sep-oct FRI-Mon,Holidays 22:00-06:00,12:00-13:30;0") == (
        PriceRule(
            -1.5,
            frozenset({6, 9, 10}),
            frozenset({5, 6, 7, 1, HOLIDAYS}),
            ((1320, 360), (720, 810)),
        ),
        PriceRule(0),
    )
    assert read_rules("300") == (PriceRule(300),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("325;", "empty"),
        ("325 Mon-Fri", "end with a price alone"),
        ("300; 325 Mon-Fri; 2", "rule 1 always holds"),
        ("expensive Mon; 2", "'expensive'"),
        ("1.2.3; 2", "'1.2.3'"),
        ("nan", "'nan'"),
        ("1e400", "'1e400'"),
        ("325,50; 2", "'325,50'"),
        ("325 Mo-Fr; 2", "'Mo-Fr'"),
        ("325 Mon-holidays; 2", "'Mon-holidays'"),
        ("325 Mon Jan; 2", "'Jan'"),
        ("325 07:00-20:00 Mon; 2", "'Mon'"),
        ("325 Mon Tue; 2", "'Tue'"),
        ("325 07:00-20:00 21:00-22:00; 2", "'21:00-22:00'"),
        ("325 7-20; 2", "'7-20'"),
        ("325 07:00-25:00; 2", "'07:00-25:00'"),
        ("325 24:00-06:00; 2", "'24:00-06:00'"),
        ("325 07:60-08:00; 2", "'07:60-08:00'"),
        ("325 07:00-07:00; 2", "'07:00-07:00'"),
        ("325 07:00-; 2", "'07:00-'"),
        ("325 Mon-Fri-Sat; 2", "'Mon-Fri-Sat'"),
    ],
)
def test_a_wrong_rule_is_named(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_rules(text)
    with pytest.raises(FieldError) as caught:
        Tariff(export_eur_per_mwh=text)
    assert caught.value.key == "export_eur_per_mwh"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tariff_knows_whether_it_needs_the_market():
    assert Tariff().needs_market
    assert Tariff(import_eur_per_mwh="300").needs_market
    assert not Tariff(import_eur_per_mwh="300", export_eur_per_mwh="80").needs_market


@pytest.mark.parametrize("currency", ["", "two words", "ninechars"])
def test_a_currency_is_a_short_label(currency):
    with pytest.raises(FieldError, match="currency"):
        Tariff(currency=currency)
