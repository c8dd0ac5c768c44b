"""Home Assistant finds the batteries and the site by itself: MQTT discovery.

    python -c "from vpp.devices.discovery import unique; print(unique('site-1', 'cellar', 'soc'))"

One retained message an entity, which every version of Home Assistant understands. All entities are
unavailable while nobody answers for the site.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from vpp.devices.topics import Topics
from vpp.runtime.settings import Config
from vpp.site.battery_messages import OVERRIDE_WORDS


def unique(*parts: str) -> str:
    """The unique id of an entity; it begins with `vpp_<site>_`.

    Parameters
    ----------
    *parts : site, battery and quantity. A mark that Home Assistant does not take becomes _, and a
        digest keeps such names apart.
    """
    text = "_".join(("vpp", *parts))
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    if plain == text:
        return text
    return f"{plain}_{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def entities(config: Config, topics: Topics) -> Iterator[tuple[str, dict[str, Any]]]:
    """The discovery messages of the site.

    Parameters
    ----------
    config : names the batteries.
    topics : of the site.

    Yields
    ------
    Topic and content of each.
    """
    site = {"identifiers": [unique(topics.site_id, "site")], "name": config.site.name}
    site |= {"manufacturer": "Virtual power plant", "model": "site"}
    for battery in config.batteries:
        name = battery.battery_id
        device = {
            "identifiers": [unique(topics.site_id, name, "battery")],
            "name": name,
            "manufacturer": "Virtual power plant",
            "model": f"battery, {battery.capacity_kwh:g} kWh",
            "via_device": site["identifiers"][0],
        }
        for kind, key, told in _battery_entities(topics, name):
            yield _entity(config, topics, kind, unique(topics.site_id, name, key), told, device)
    for kind, key, told in _site_entities(config, topics):
        yield _entity(config, topics, kind, unique(topics.site_id, key), told, site)


def _battery_entities(topics: Topics, name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    now = topics.of(name, "now")
    measured = {"state_topic": now, "state_class": "measurement"}
    yield (
        "sensor",
        "soc",
        {"name": "State of charge", "device_class": "battery", "unit_of_measurement": "%"}
        | {"value_template": "{{ value_json.soc_percent }}"}
        | measured,
    )
    yield (
        "sensor",
        "power",
        {"name": "Power", "device_class": "power", "unit_of_measurement": "kW"}
        | {"value_template": "{{ value_json.power_kw }}"}
        | measured,
    )
    yield (
        "sensor",
        "next_action",
        {"name": "Next action", "icon": "mdi:calendar-clock", "state_topic": now}
        | {"value_template": "{{ value_json.next_action }}"},
    )
    yield (
        "select",
        "override",
        {
            "name": "Override",
            "icon": "mdi:hand-back-right",
            "options": list(OVERRIDE_WORDS),
            "state_topic": topics.of(name, "override"),
            "value_template": "{{ value_json.override }}",
            "command_topic": topics.of(name, "override/set"),
            "qos": 1,
        },
    )


def _site_entities(config: Config, topics: Topics) -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield (
        "sensor",
        "savings",
        {
            "name": "Savings of the plan",
            "device_class": "monetary",
            "unit_of_measurement": config.tariff.currency,
            "state_topic": topics.now,
            "value_template": "{{ value_json.savings }}",
        },
    )
    yield (
        "sensor",
        "health",
        {
            "name": "Health",
            "icon": "mdi:heart-pulse",
            "state_topic": topics.now,
            "value_template": "{{ value_json.health }}",
        },
    )


def _entity(
    config: Config,
    topics: Topics,
    kind: str,
    unique_id: str,
    told: dict[str, Any],
    device: dict[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Topic and content of the discovery message of one entity."""
    topic = f"{config.mqtt.discovery_prefix.rstrip('/')}/{kind}/{unique_id}/config"
    head = {"unique_id": unique_id, "object_id": unique_id, "availability_topic": topics.status}
    return topic, head | told | {"device": device}
