"""How long a plan takes to reach its devices: plan -> set-point -> acknowledgement.

    python benchmarks/bench_setpoints.py                        # 1,000 devices, 40 plans, 20 kills
    python benchmarks/bench_setpoints.py --plans 8 --kills 2

A real mosquitto, a real PostgreSQL and two bridges, `communication.py mqtt`: one serves, one waits.
Devices obey as examples/device.py does; 50 of them share a connection. A plan is stored, then
published; an acknowledgement counts when the bridge has received it. Broker and serving bridge are
killed in turn (kill -9) at random times and started again. Figures are told apart for plans that a
kill met.
"""

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from small_bridge import save_plan
from small_broker import broker

import db
import embedded
from vpp.devices.publish import publish_plan
from vpp.devices.topics import new_client, site_topics
from vpp.runtime.config import load_config
from vpp.storage.rows import select_rows

SHARE, PATIENCE_S = 50, 30.0


def load_device():
    spec = importlib.util.spec_from_file_location("device", ROOT / "examples" / "device.py")
    module = sys.modules["device"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Devices:
    """Some devices on one connection."""

    def __init__(self, config, names, device):
        self.topics, self.device = site_topics(config), device
        self.minds = {name: device.Obedience() for name in names}
        self.obeyed, self.stale = {}, 0
        self.client = new_client(config, "", is_kept=False)
        wanted = [
            (self.topics.of(name, kind), 1) for name in names for kind in ("plan", "setpoint")
        ]
        self.client.on_connect = lambda client, *_: client.subscribe(wanted)
        self.client.on_message = self.take
        self.client.loop_start()

    def take(self, client, _, message):
        now, (name, kind) = datetime.now(UTC), self.topics.read(message.topic)
        mind, told = self.minds[name], json.loads(message.payload)
        act = mind.take_plan if kind == "plan" else mind.take_set_point
        decided = act(told, now)
        if decided is None or decided[1] not in ("obeyed", "doubled"):
            return
        point = decided[0]
        if decided[1] == "obeyed":
            key = name, point.plan_id, point.valid_from
            self.obeyed[key] = self.obeyed.get(key, 0) + 1
            self.stale += not (point.plan_id == mind.plan_id and now < point.valid_until)
        start = self.device.iso(point.valid_from)
        word = {"plan_id": point.plan_id, "valid_from": start, "status": "obeyed"}
        client.publish(self.topics.of(name, "ack"), json.dumps(word), 1)


def start_bridge(config):
    command = [sys.executable, str(ROOT / "communication.py"), "mqtt", "--config", str(config.path)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def acknowledged(conn, plan_id, count):
    """Times of a plan's first acknowledgement of each battery; waits for all."""
    until = time.monotonic() + PATIENCE_S
    while True:
        query = """
            SELECT battery_id, min(received_at) AS at FROM acknowledgements
            WHERE plan_id = %s AND status = 'obeyed' GROUP BY 1"""
        rows = select_rows(conn, query, (plan_id,))
        conn.commit()
        if len(rows) == count or time.monotonic() > until:
            return [row["at"] for row in rows]
        time.sleep(0.1)


def run(config, mosquitto, args):
    device, names = load_device(), [battery.battery_id for battery in config.batteries]
    groups = [Devices(config, names[n : n + SHARE], device) for n in range(0, len(names), SHARE)]
    bridges, dice = [start_bridge(config)], random.Random(1)
    met = set(dice.sample(range(1, args.plans), args.kills))
    quiet, touched, missing = [], [], 0
    try:
        time.sleep(5)
        bridges.append(start_bridge(config))
        time.sleep(5)
        for number in range(args.plans):
            save_plan(config, f"p{number}", first=number % 40 + 1.0, steps=36, step_min=60)
            began, killer = datetime.now(UTC), None
            if number in met:
                is_broker = len(touched) // max(len(names), 1) % 2 == 0

                def kill(is_broker=is_broker):
                    if is_broker:
                        mosquitto.kill()
                        mosquitto.start()
                    else:
                        bridges[0].kill()
                        bridges.pop(0).wait()
                        bridges.append(start_bridge(config))

                killer = threading.Timer(dice.uniform(0, 0.5), kill)
                killer.start()
            with db.session(config) as conn:
                try:
                    publish_plan(conn, config, f"p{number}")
                except db.DatabaseError:
                    raise
                except Exception as error:  # the broker is dead: the bridge finds the plan
                    print(f"plan {number}: {error}", file=sys.stderr)
                if killer:
                    killer.join()
                times = acknowledged(conn, f"p{number}", len(names))
            took = [(at - began).total_seconds() for at in times]
            missing += len(names) - len(took)
            (touched if killer else quiet).extend(took)
            print(f"plan {number}: {max(took, default=0):.2f} s", file=sys.stderr)
    finally:
        for process in bridges:
            process.kill()
            process.wait()
        for group in groups:
            group.client.disconnect()
            group.client.loop_stop()
    doubled = sum(count - 1 for group in groups for count in group.obeyed.values())
    stale = sum(group.stale for group in groups)
    print("plans                | acks   | p50 s | p99 s | max s")
    for name, took in (("no kill", quiet), ("met by a kill", touched), ("all", quiet + touched)):
        if took:
            p50, p99 = np.percentile(took, [50, 99])
            print(f"{name:20} | {len(took):6,} | {p50:5.2f} | {p99:5.2f} | {max(took):5.2f}")
    print(f"missing {missing}, obeyed twice {doubled}, obeyed though stale {stale}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text, broker(Path(text) / "mosquitto") as mosquitto:
        folder = Path(text)
        lines = [f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state"]
        lines += [f"[mqtt]\nurl = {mosquitto.url}\ndiscovery_prefix ="]
        lines += [f"[battery:b{n}]\ncapacity_kwh = 100" for n in range(args.devices)]
        path = folder / "config.ini"
        path.write_text("\n".join(lines) + "\n")
        config = load_config(path)
        try:
            db.connect(config).close()
            run(config, mosquitto, args)
        finally:
            embedded.stop(config.paths.state_dir, delete=True)


if __name__ == "__main__":
    main()
