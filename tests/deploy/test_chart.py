"""The Helm chart: its values, its objects in three sets of values, and the commands that they run.

Without helm, Kubernetes' schemas or those of the operators the tests that need them are skipped.
"""

import configparser
import copy
import importlib
import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import small_chart
import yaml
from conftest import PROJECT
from small_chart import CHART, SETS, helm, pods, rendered, values

from vpp.runtime import terminal
from vpp.runtime.config import load_config
from vpp.runtime.settings import SECTIONS

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
PARTS = {
    "small": {"sink", "planner", "serve", "mlflow", "prune", "report", "retrain"},
    "external": {"sink", "planner", "serve", "train", "prune", "retrain"},
}
PARTS["full"] = PARTS["small"] | {"train", "backfill", "produce", "dask", "worker"}


def accepted(given: dict) -> bool:
    return VALIDATOR.is_valid(given)


def places(schema, path=()):
    """Each object of a schema, and of what it refers to, with the path of its values."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "properties" in schema:
        yield path, schema
        for key, inner in schema["properties"].items():
            yield from places(inner, (*path, key))


# Values, without helm


@pytest.mark.parametrize("name", [None, *SETS])
def test_the_schema_takes_our_values(name):
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(values(name))) == []


def test_every_value_is_in_the_schema_and_has_a_default():
    for path, schema in places(SCHEMA):
        assert schema["additionalProperties"] is False, path
        found = values()
        for key in path:
            found = found[key]
        if path[-1:] not in (("requests",), ("limits",)):
            assert set(schema["properties"]) - {"global"} == set(found), path


def test_a_wrong_key_is_refused_wherever_it_stands():
    for path, _ in places(SCHEMA):
        given = values()
        found = given
        for key in path:
            found = found[key]
        found["nonsense"] = 1
        assert not accepted(given), path


@pytest.mark.parametrize(
    "path_and_value",
    [
        "sink.replicas 0",
        "sink.replicas 1.5",
        "sink.replicas '2'",
        "sink.autoscaling.lag 0",
        "sink.resources.limits.memory lots",
        "sink.resources.requests.cpu -1",
        "images.sink vpp",
        "images.sink 'vpp latest'",
        "images.pullPolicy Sometimes",
        "kafka.bootstrapServers kafka",
        "kafka.bootstrapServers http://kafka:9092",
        "kafka.securityProtocol TLS",
        "kafka.partitions 0",
        "kafka.port 70000",
        "database.secret ''",
        "database.secret Not_A_Name",
        "database.cloudnativepg.size 10",
        "mlflow.uri http://vpp:password@mlflow:5000",
        "mlflow.server.artifacts /models",
        "mlflow.server.s3Endpoint https://key:secret@objects",
        "cron.prune.schedule daily",
        "cron.prune.schedule '* * * *'",
        "serve.tokenSecret ''",
        "networkPolicy.servers [{}]",
        "networkPolicy.servers [{ipBlock: {cidr: anywhere}}]",
        "networkPolicy.planner [0]",
        "tolerations [{kee: x}]",
        "nodeSelector {zone: 1}",
        "config {forcast: {horizon_h: 24}}",
        "config {paths: {data_dir: /x}}",
        "config {site: {name: [a]}}",
        "config {kafka: {sasl_password: s3cret}}",
        "config {alerts: {smtp_password: s3cret}}",
        "config {serve: {token: s3cret}}",
        'config {site: {name: "a\\nb"}}',
        "backfill.days 0",
        "serviceMonitor.interval often",
    ],
)
def test_nonsense_is_refused(path_and_value):
    path, _, text = path_and_value.partition(" ")
    given = values()
    *way, last = path.split(".")
    found = given
    for key in way:
        found = found[key]
    assert last in found
    found[last] = yaml.safe_load(text)
    assert not accepted(given)


def test_every_section_of_the_configuration_may_be_given():
    (pattern,) = SCHEMA["properties"]["config"]["patternProperties"]
    names = set(SECTIONS) - {"paths"} | {"battery:a", "vehicle:b", "heat:c", "deferrable:d"}
    for name in names:
        assert accepted(values() | {"config": {name: {}}}), (
            f"[{name}] is not in values.schema.json: {pattern}"
        )


# Objects, with helm


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_no_fault(name):
    done = helm("lint", "--strict", CHART, "-f", CHART / f"values-{name}.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("small", "sink.replcas=2", "replcas"),
        ("small", "sink.replicas=4", "at most kafka.partitions, 3"),
        ("small", "kafka.bootstrapServers=", "expected host:port"),
        ("small", "kafka.securityProtocol=SASL_SSL", "expected kafka.username and kafka.secret"),
        ("small", "mlflow.secret=", "expected the server's address"),
        ("small", "mlflow.uri=http://m:5000", "expected one of them"),
        ("small", "produce.enabled=true", "expected data.claim"),
        ("small", "serve.ingress.enabled=true", "not sent without TLS"),
        ("small", "config.database.url=postgresql://x", "expected in a Secret"),
        ("small", "mlflow.server.s3Secret=s3", "expected mlflow.server.artifacts"),
        ("external", "sink.autoscaling.max=13", "at most kafka.partitions, 12"),
        ("external", "sink.autoscaling.min=13", "at most sink.autoscaling.max, 12"),
        ("external", "kafka.strimzi.enabled=true", "expected one of them"),
        ("full", "kafka.replicationFactor=5", "at most kafka.strimzi.replicas, 3"),
        ("full", "database.cloudnativepg.imageName=", "an image of yours with TimescaleDB"),
    ],
)
def test_values_that_do_not_go_together_are_one_error(name, option, said):
    files = ["-f", CHART / f"values-{name}.yaml"]
    done = helm("template", "vpp", CHART, *files, "--set", option)
    assert done.returncode != 0 and not done.stdout
    assert said in done.stderr


@pytest.mark.parametrize("name", SETS)
def test_every_object_fits_its_schema_and_a_wrong_key_does_not(name):
    without = set()
    for item in rendered(name):
        schema = small_chart.schema_of(item)
        if schema is None:
            without.add(item["kind"])
            continue
        assert small_chart.faults(item, schema) == [], item["metadata"]["name"]
        wrong = copy.deepcopy(item)
        wrong["data" if item["kind"] == "ConfigMap" else "spec"] = 1
        if "spec" in item:
            wrong["spec"] = item["spec"] | {"nonsense": 1}
        assert small_chart.faults(wrong, schema), item["kind"]
    folder = small_chart.SHARED / "schemas"
    if folder.is_dir():
        assert not without
    elif without:
        pytest.skip(f"no schemas of {', '.join(sorted(without))} in {folder}")


@pytest.mark.parametrize("name", SETS)
def test_kubeconform_finds_no_fault(name, tmp_path):
    if not shutil.which("kubeconform"):
        pytest.skip("needs kubeconform on the PATH")
    (tmp_path / "_definitions.json").write_text(json.dumps(small_chart.definitions()))
    for item in rendered(name):
        if schema := small_chart.schema_of(item):
            text = json.dumps(schema).replace("urn:kubernetes#", "_definitions.json#")
            (tmp_path / f"{item['kind'].lower()}.json").write_text(text)
    place = f"{tmp_path}/{{{{.ResourceKind}}}}.json"
    command = ["kubeconform", "-strict", "-schema-location", place]
    if not (small_chart.SHARED / "schemas").is_dir():
        command.append("-ignore-missing-schemas")
    objects = yaml.safe_dump_all(rendered(name))
    done = subprocess.run([*command, "-"], input=objects, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SETS)
def test_a_set_makes_the_pods_that_it_promises(name):
    found = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for template in pods(rendered(name)).values()
    }
    assert found == PARTS[name]


@pytest.mark.parametrize("name", SETS)
def test_pods_may_do_no_more_than_they_need(name):
    for owner, template in pods(rendered(name)).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, owner
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"], owner
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, owner
        if owner.startswith("Deployment") and "worker" not in owner:
            assert container["livenessProbe"], owner


@pytest.mark.parametrize("name", SETS)
def test_secrets_are_files_that_exactly_their_pods_get(name):
    assert "Secret" not in {item["kind"] for item in rendered(name)}
    for owner, template in pods(rendered(name)).items():
        spec = template["spec"]
        (container,) = spec["containers"]
        given = {
            entry["path"]
            for volume in spec["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            for entry in source["secret"]["items"]
        }
        read = {
            Path(entry["value"]).name
            for entry in container["env"]
            if entry["value"].startswith("/run/secrets/vpp/")
        }
        assert given - {"kafka_ca.crt"} == read, owner
        assert not any("valueFrom" in entry for entry in container["env"]), owner
        part = template["metadata"]["labels"]["app.kubernetes.io/component"]
        needs_models = part not in ("sink", "prune", "produce", "mlflow")
        assert ("mlflow_uri" in given) is needs_models, owner
        assert ("serve_token" in given) is (part == "serve"), owner


@pytest.mark.parametrize("name", SETS)
def test_mounts_are_volumes_and_what_is_written_is_writable(name):
    for owner, template in pods(rendered(name)).items():
        (container,) = template["spec"]["containers"]
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert set(mounts) == volumes, owner
        assert "readOnly" not in mounts["tmp"], owner


@pytest.mark.parametrize("name", SETS)
def test_selectors_find_pods_and_each_pod_has_its_network_policy(name):
    labels = [template["metadata"]["labels"] for template in pods(rendered(name)).values()]

    def matching(wanted: dict) -> list[dict]:
        return [given for given in labels if wanted.items() <= given.items()]

    policies = []
    for item in rendered(name):
        spec, kind = item.get("spec", {}), item["kind"]
        if kind == "Service":
            assert len(matching(spec["selector"])) == 1, item["metadata"]["name"]
        elif kind in ("Deployment", "PodDisruptionBudget"):
            assert len(matching(spec["selector"]["matchLabels"])) == 1, item["metadata"]["name"]
        elif kind == "NetworkPolicy":
            assert spec["policyTypes"] == ["Ingress", "Egress"]
            policies += matching(spec["podSelector"]["matchLabels"])
            # an empty list of peers would let in everybody
            assert all(rule.get("from") for rule in spec.get("ingress", ()))
        elif kind == "ScaledObject":
            target = spec["scaleTargetRef"]["name"]
            assert f"Deployment {target}" in pods(rendered(name))
            assert spec["maxReplicaCount"] <= values(name)["kafka"]["partitions"]
    in_order = sorted(json.dumps(given, sort_keys=True) for given in labels)
    assert sorted(json.dumps(given, sort_keys=True) for given in policies) == in_order


def test_without_peers_nobody_reaches_a_port():
    objects = rendered("small", "--set-json", "networkPolicy.serveFrom=[]")
    policies = {
        item["metadata"]["name"]: item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
    }
    assert all("ingress" not in policies[name] for name in ("vpp-serve", "vpp-sink"))


@pytest.mark.parametrize("name", SETS)
def test_scripts_take_the_command_lines_of_the_containers(name):
    checked = []
    for owner, template in pods(rendered(name)).items():
        (container,) = template["spec"]["containers"]
        commands = [container["args"]]
        for probe in ("startupProbe", "readinessProbe"):
            commands += [container.get(probe, {}).get("exec", {}).get("command")]
        for command in filter(None, commands):
            check_command(owner, command)
            checked.append(owner)
    assert "sink" in " ".join(checked)


def check_command(owner: str, command: list[str]) -> None:
    program, script, *words = command
    if program == "dask":
        assert script in owner or owner.endswith("-dask")  # the next test reads the rest
    elif program == "sh":
        assert subprocess.run(["sh", "-n", "-c", words[0]]).returncode == 0, owner
    elif script == "models.py":
        assert (PROJECT / "deploy" / "docker" / script).exists()
    else:
        assert program == "python" and Path(script).parent == Path("/app"), owner
        assert words[:2] == ["--config", "/config/config.ini"], owner
        parser = importlib.import_module(Path(script).stem).build_parser()
        terminal.parse(parser, words)


def test_dask_takes_its_command_lines():
    checked = set()
    for owner, template in pods(rendered("full")).items():
        program, role, *words = template["spec"]["containers"][0]["args"]
        if program == "dask":
            (container,) = template["spec"]["containers"]
            assert {"name": "PYTHONPATH", "value": "/app"} in container["env"]  # tasks import vpp
            command = pytest.importorskip(f"distributed.cli.dask_{role}").main
            assert command.make_context(role, list(words)).params, owner
            checked.add(role)
    assert checked == {"scheduler", "worker"}


@pytest.mark.parametrize("name", SETS)
def test_the_configuration_of_a_set_is_one_that_scripts_take(name, tmp_path):
    (text,) = (item["data"]["config.ini"] for item in rendered(name) if item["kind"] == "ConfigMap")
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    if "compute" in parser and "compute" not in SECTIONS:
        pytest.skip("this configuration has no section [compute]")
    (tmp_path / "config.ini").write_text(text)
    (template,) = (found for owner, found in pods(rendered(name)).items() if "planner" in owner)
    environment = {
        entry["name"]: entry["value"] for entry in template["spec"]["containers"][0]["env"]
    }
    secrets = {name for name in environment if name.endswith("_FILE")}
    for variable in secrets:
        (tmp_path / variable).write_text("postgresql://vpp@host/vpp")
        environment[variable] = str(tmp_path / variable)
    config = load_config(tmp_path / "config.ini", environment)
    given = values(name)
    assert config.kafka.partitions == given["kafka"]["partitions"]
    assert str(config.paths.data_dir) == "/data" and config.serve.host == "0.0.0.0"
    assert config.site.site_id == given["config"]["site"]["site_id"]
    assert config.operation.retrain_every_h == 0  # the CronJob does it


def test_a_job_runs_again_only_if_what_it_runs_has_changed():
    def jobs(*options: str) -> dict[str, str]:
        found = (item for item in rendered("full", *options) if item["kind"] == "Job")
        names = (item["metadata"]["name"].rpartition("-") for item in found)
        return {part: digest for part, _, digest in names}

    before = jobs()
    assert jobs("--set", "sink.autoscaling.max=6", "--set", "config.site.name=South") == before
    after = jobs("--set", "backfill.days=30")
    assert {part for part in before if before[part] != after[part]} == {"vpp-backfill"}


def test_trainers_share_the_sources_where_there_is_no_dask():
    (job,) = (item for item in rendered("external") if item["kind"] == "Job")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 4)
    assert job["spec"]["completionMode"] == "Indexed"


# The image of the MLflow server


def test_models_go_to_the_object_store_that_is_named(tmp_path):
    server = tmp_path / "mlflow"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    server.chmod(server.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "secret").write_text("a secret of the tests")
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "MLFLOW_PASSWORD_FILE": str(tmp_path / "secret"),
        "MLFLOW_SECRET_KEY_FILE": str(tmp_path / "secret"),
    }

    def said(**more: str) -> str:
        command = [sys.executable, PROJECT / "deploy" / "docker" / "models.py"]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "--artifacts-destination=/mlflow/artifacts\n" in said()
    there = said(MLFLOW_ARTIFACTS="s3://vpp/models", MLFLOW_HOSTS="vpp-mlflow:5000")
    assert "--artifacts-destination=s3://vpp/models\n" in there
    assert "mlflow:5000,localhost:5000,127.0.0.1:5000,vpp-mlflow:5000\n" in there
