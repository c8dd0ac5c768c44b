"""A Dask cluster whose workers and scheduler are killed during training, beside this machine alone.

    python benchmarks/bench_cluster.py [--kills 20] [--workers 3]

Generates a site, streams it to embedded servers, and runs training, forecasts, plan and value
twice: on this machine, then on a scheduler and workers. These are processes without a common
parent, each in a folder of its own, none below another's. While they train, workers are killed with
`kill -9`, and once the scheduler; a supervisor starts each anew, as systemd or Kubernetes would.
Both ways have the database in common, and an MLflow store each.

Prints what is equal (champions, model files, leaderboards, forecasts, plans, money), how often each
model was registered, and the tasks and kills of each worker.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psutil

import embedded
from vpp.champions import registry
from vpp.runtime.config import load_config
from vpp.runtime.tables import print_rows
from vpp.storage.connection import connect_url, session
from vpp.storage.digests import read_digests
from vpp.storage.rows import select_rows

CONFIG = """
[paths]
data_dir = {data}
state_dir = {state}
[generation]
days = 60
solar = 2
wind = 1
loads = 2
[training]
models = arima
trials = 8
origins = 6
[forecast]
horizon_h = 36
[battery:store]
capacity_kwh = 2000
charge_kw = 1000
discharge_kw = 1000
"""
SHARED = "[database]\nurl = {url}\n[mlflow]\ntracking_uri = sqlite:///{store}\n"
DASK = "[compute]\nengine = dask\naddress = {address}\n"
ISSUE = "2025-02-28T00:00Z"  # of the plan that is valued; the data end two days later


class Cluster:
    """A scheduler and workers without a common parent, started anew where they die."""

    def __init__(self, workers: int) -> None:
        self.folders = [Path(tempfile.mkdtemp()) for _ in range(workers + 1)]
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.pids: list[int] = [0] * (workers + 1)
        self.owners: dict[int, int] = {}  # every pid that there was, and whose it was
        self.kills = [0] * (workers + 1)
        self.over = threading.Event()
        self.supervisor = threading.Thread(target=self.supervise)
        self.supervisor.start()

    def start(self, number: int) -> None:
        """Start the scheduler (0) or a worker; its parent ends at once."""
        port = self.address.rpartition(":")[2]
        quiet = ["--host", "127.0.0.1", "--no-dashboard"]
        own = ["dask_scheduler", *quiet, "--port", port]
        if number:
            here = ["--local-directory", str(self.folders[number])]
            own = ["dask_worker", self.address, *quiet, "--nthreads", "1", "--no-nanny", *here]
        command = [sys.executable, "-m", f"distributed.cli.{own[0]}", *own[1:]]
        line = " ".join(f"'{word}'" for word in command)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        told = subprocess.run(
            ["sh", "-c", f"setsid {line} >>log 2>&1 & echo $!"],
            cwd=self.folders[number], env=environment, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        self.pids[number] = int(told.stdout)
        self.owners[self.pids[number]] = number

    def supervise(self) -> None:
        """Start each process that is not there."""
        while not self.over.wait(0.5):
            for number, pid in enumerate(self.pids):
                if not pid or not alive(pid):
                    self.start(number)

    def kill(self, number: int) -> None:
        """Kill the scheduler (0) or a worker with `kill -9`."""
        with suppress(ProcessLookupError):
            os.kill(self.pids[number], signal.SIGKILL)
            self.kills[number] += 1

    def close(self) -> None:
        """End all, and remove their folders."""
        self.over.set()
        self.supervisor.join()
        for number, folder in enumerate(self.folders):
            self.kill(number)
            shutil.rmtree(folder, ignore_errors=True)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run(config: Path, script: str, *arguments: str) -> object:
    """Run a script, and read the JSON that it prints."""
    command = [sys.executable, str(ROOT / script), "--config", str(config), "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def busy(url: str) -> list[int]:
    """The processes that hold a claim now."""
    conn = connect_url(url, 60)
    query = "SELECT worker, task FROM claim_steps WHERE seen_at > now() - interval '5 s'"
    found = [int(row["worker"].rpartition(":")[2]) for row in select_rows(conn, query)]
    conn.close()
    return found


def kill_while(cluster: Cluster, url: str, over: threading.Event, kills: int) -> None:
    """Kill workers that are at a training, one after the other, and the scheduler halfway."""
    chance, done, began = random.Random(1), 0, time.monotonic()
    while done < kills and not over.wait(0.5):
        at_work = [cluster.owners[pid] for pid in busy(url) if pid in cluster.pids[1:]]
        if not at_work:
            continue
        cluster.kill(chance.choice(at_work))
        done += 1
        if done == kills // 2:
            cluster.kill(0)
        print(f"{time.monotonic() - began:4.0f} s: {done} of {kills} kills", file=sys.stderr)


def results_of(config_path: Path, url: str, killer: threading.Thread | None = None) -> dict:
    """All that the four scripts make, and when it was registered how often."""
    if killer is not None:
        killer.start()
    found = {"leaderboard": run(config_path, "train_forecast.py")}
    for row in found["leaderboard"]:
        row.pop("seconds", None)
    run(config_path, "forecast_and_save.py")
    run(config_path, "forecast_and_save.py", "--issue-time", ISSUE)
    planned = run(config_path, "optimization.py", "--issue-time", ISSUE)
    found |= {"plan": planned["schedule"], "money": planned["value"]}
    config = load_config(config_path)
    client = registry.open_store(config)
    with session(config) as conn:
        names = [row["source_id"] for row in select_rows(conn, "SELECT source_id FROM sources")]
        query = """
            SELECT source_id, model, role, forecasts.* FROM forecast_runs JOIN forecasts
            USING (run_id) ORDER BY source_id, role, valid_time"""
        rows = [{k: v for k, v in row.items() if k != "run_id"} for row in select_rows(conn, query)]
        found["forecasts"] = json.loads(json.dumps(rows, default=str))
        digests = {name: read_digests(conn, name) for name in names}
        found["model files"] = {name: list(own.values()) for name, own in digests.items() if own}
        with conn.cursor() as cursor:
            cursor.execute("""
                DELETE FROM forecasts; DELETE FROM forecast_runs; DELETE FROM schedules;
                DELETE FROM battery_states; DELETE FROM schedule_runs;
                TRUNCATE studies CASCADE""")  # of Optuna: the other way tunes anew
    champions = {name: registry.read_champion(client, name) for name in names}
    found["champions"] = {name: repr(one) for name, one in champions.items() if one}
    versions = {
        name: len(client.search_model_versions(f"name='vpp-{name}'")) for name in found["champions"]
    }
    return found | {"versions": versions}


def digest(made: object) -> str:
    """A short hash of what was made."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:12]


def tasks_of(url: str, cluster: Cluster, began: object) -> list[dict]:
    """Tasks that each worker has done and how often it was killed."""
    conn = connect_url(url, 60)
    query = "SELECT worker, count(*) AS tasks FROM claims WHERE done_at >= %s GROUP BY worker"
    done = [0] * len(cluster.pids)
    for row in select_rows(conn, query, (began,)):
        done[cluster.owners.get(int(row["worker"].rpartition(":")[2]), 0)] += row["tasks"]
    conn.close()
    names = ["scheduler", *(f"worker {n}" for n in range(1, len(done)))]
    return [
        {"process": name, "kills": cluster.kills[n], "trainings ended": done[n]}
        for n, name in enumerate(names)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20, help="of workers (default: 20)")
    parser.add_argument("--workers", type=int, default=3, help="(default: 3)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name), Path(name) / "state"
        config = folder / "config.ini"
        text = CONFIG.format(data=folder / "data", state=state)
        config.write_text(text)
        cluster = None
        try:
            for script in ("generation.py", "communication.py"):
                command = [sys.executable, str(ROOT / script), "--config", str(config)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            url = embedded.ensure_running(state, 60).database_url
            config.write_text(text + SHARED.format(url=url, store=folder / "local.db"))
            print("this machine alone", file=sys.stderr)
            alone = results_of(config, url)
            cluster = Cluster(args.workers)
            text += SHARED.format(url=url, store=folder / "dask.db")
            config.write_text(text + DASK.format(address=cluster.address))
            conn = connect_url(url, 60)
            began = select_rows(conn, "SELECT clock_timestamp() AS now")[0]["now"]
            conn.close()
            over = threading.Event()
            killer = threading.Thread(target=kill_while, args=(cluster, url, over, args.kills))
            shared = results_of(config, url, killer)
            over.set()
            killer.join()
            print_rows(tasks_of(url, cluster, began), "processes")
        finally:
            if cluster is not None:
                cluster.close()
            embedded.stop(state, delete=True)
    rows = [
        {"made": made, "parts": len(alone[made]), "alone": digest(alone[made])}
        | {"on the cluster": digest(shared[made]), "equal": alone[made] == shared[made]}
        for made in alone
    ]
    print_rows(rows, "the same in both ways")
    for made in (row["made"] for row in rows if not row["equal"]):
        ways = [way[made] for way in (alone, shared)]
        ways = [one.items() if isinstance(one, dict) else one for one in ways]
        pairs = zip(*ways, strict=False)
        print(f"{made}: {next((pair for pair in pairs if pair[0] != pair[1]), 'lengths')}")
    twice = [name for name, number in shared["versions"].items() if number != 1]
    print(f"{len(shared['versions'])} models registered once; more often: {twice or 'none'}")
    # files are shown; what counts is what the models forecast
    same = all(row["equal"] for row in rows if row["made"] != "model files")
    return 0 if same and not twice else 1


if __name__ == "__main__":
    raise SystemExit(main())
