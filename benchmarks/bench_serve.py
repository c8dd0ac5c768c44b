"""How fast serve.py answers: solves of 48 h by quarter-hours, and 1,000 requests at once.

    python benchmarks/bench_serve.py
    python benchmarks/bench_serve.py --solves 200 --requests 1000

Makes a small plant with embedded servers in a temporary folder and starts serve.py on it. A solve's
time is that of the whole request; beside it stands the solver's own, as the result's certificate
says it. While many requests are asked at once, /health is asked again and again."""

import argparse
import asyncio
import multiprocessing
import multiprocessing.synchronize
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import httpx
import numpy as np
import psutil
from small_plant import BATTERIES, fill_plant
from small_server import Served

import embedded
from vpp.runtime.config import load_config
from vpp.runtime.tables import print_rows

GOAL_MS, SPAN = 100.0, 192


def problem(number: int) -> dict:
    """48 h by quarter-hours of a load, sun, day-ahead prices and a battery; each another one."""
    rng = np.random.default_rng(number)
    hour = np.arange(SPAN) / 4 % 24
    price = 80 + 40 * np.sin((hour - 14) / 24 * 4 * np.pi) + rng.normal(0, 8, SPAN)
    return {
        "step_min": 15,
        "start": "2025-03-13T00:00:00Z",
        "import_price_eur_per_mwh": (price + 10).tolist(),
        "export_price_eur_per_mwh": price.tolist(),
        "load_kw": (900 + 400 * np.sin(hour / 24 * 2 * np.pi) ** 2).tolist(),
        "renewables_kw": (1500 * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)).tolist(),
        "batteries": [
            {"battery_id": "b", "capacity_kwh": 2000, "charge_kw": 1000, "discharge_kw": 1000}
        ],
    }


def time_solves(served: Served, count: int) -> list[dict]:
    """Request and solver times of many solves, one after the other [ms]."""
    spent, own = [], []
    for number in range(count + 3):
        began = time.perf_counter()
        answer = served.client.post("/api/solve", json=problem(number))
        seconds = time.perf_counter() - began
        if answer.status_code != 200 or answer.json()["status"] != "optimal":
            raise SystemExit(f"a solve failed: {answer.text[:300]}")
        if number >= 3:  # the first ones warm up
            spent.append(1000 * seconds)
            own.append(1000 * answer.json()["certificate"]["seconds"])
    beside = np.array(spent) - np.array(own)
    return [
        {"time": name, "p50_ms": np.median(values), "p95_ms": np.quantile(values, 0.95)}
        for name, values in (("request", spent), ("solver", own), ("beside the solver", beside))
    ]


async def ask_at_once(served: Served, count: int) -> list[dict]:
    """Time and outcome of many requests at once, by their path."""
    paths = ["/api/now", "/api/plan", "/api/history", "/api/forecasts?source_id=load-1"]
    headers = {"Authorization": f"Bearer {served.token}"}
    found: dict[str, list[tuple[int, float]]] = {path: [] for path in paths}

    async def ask(client: httpx.AsyncClient, path: str) -> None:
        began = time.perf_counter()
        answer = await client.get(path)
        found[path].append((answer.status_code, time.perf_counter() - began))

    limits = httpx.Limits(max_connections=count)
    options = {"headers": headers, "limits": limits, "timeout": 300, "trust_env": False}
    async with httpx.AsyncClient(base_url=served.url, **options) as client:
        await asyncio.gather(*(ask(client, paths[i % len(paths)]) for i in range(count)))
    return [told(path.partition("?")[0], answers) for path, answers in found.items()]


def told(path: str, answers: list[tuple[int, float]]) -> dict:
    """A row of requests of one path."""
    return {
        "path": path,
        "requests": len(answers),
        "not 200": sum(status != 200 for status, _ in answers),
        "p50_s": float(np.median([seconds for _, seconds in answers])),
        "longest_s": max(seconds for _, seconds in answers),
    }


def watch(url: str, answers: multiprocessing.Queue, end: multiprocessing.synchronize.Event) -> None:
    """Ask /health ten times a second until the end, from a process of its own."""
    with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        while not end.is_set():
            began = time.perf_counter()
            status = client.get("/health").status_code
            answers.put((status, time.perf_counter() - began))
            end.wait(0.1)


def load(served: Served, count: int) -> None:
    """Ask many requests at once, watch /health meanwhile, and print the times."""
    process, spawn = psutil.Process(served.process.pid), multiprocessing.get_context("spawn")
    answers, end = spawn.Queue(), spawn.Event()
    watcher = spawn.Process(target=watch, args=(served.url, answers, end), daemon=True)
    watcher.start()
    seen = [answers.get()]
    before, cpu, began = process.memory_info().rss / 1e6, process.cpu_times(), time.perf_counter()
    rows = asyncio.run(ask_at_once(served, count))
    seconds, now = time.perf_counter() - began, process.cpu_times()
    end.set()
    while not answers.empty():
        seen.append(answers.get())
    watcher.join()
    used = now.user + now.system - cpu.user - cpu.system
    about = f"{count:,} requests at once, {seconds:.1f} s, {used:.1f} s of the server's CPU"
    print_rows([*rows, told("/health, meanwhile", seen)], f"\n{about}")
    after = process.memory_info().rss / 1e6
    print(f"memory of the server: {before:.0f} MB before, {after:.0f} MB after")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--solves", type=int, default=100, help="solves (default: 100)")
    about = "requests at once (default: 1000)"
    parser.add_argument("--requests", type=int, default=1000, help=about)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "config.ini"
        lines = [f"[paths]\ndata_dir = {name}/data\nstate_dir = {name}/state\n[serve]\nport = 0"]
        for section, values in BATTERIES.items():
            lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items())]
        path.write_text("\n".join(lines), encoding="utf-8")
        config = load_config(path, {})
        try:
            fill_plant(config)
            with Served(path) as served:
                rows = time_solves(served, args.solves)
                print_rows(rows, f"48 h x 15 min, {args.solves} solves (goal {GOAL_MS:g} beside)")
                load(served, args.requests)
        finally:
            embedded.stop(config.paths.state_dir, delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
