"""The Helm chart for tests: its sets of values, what they render to, and schemas of its objects."""

import copy
import functools
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import PROJECT
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

CHART = PROJECT / "deploy" / "chart"
SETS = ("small", "external", "full")
SHARED = Path(os.environ.get("VPP_TEST_DATA", PROJECT.parent / "shared" / "data")).parent
OWN = json.loads(Path(__file__).with_name("chart_schemas.json").read_text())
METADATA = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object"},
}


@functools.cache
def _read(name: str) -> dict:
    return yaml.safe_load((CHART / name).read_text())


def values(name: str | None = None) -> dict:
    """The default values, or those of a set laid over them, as Helm does it."""
    return laid_over(
        copy.deepcopy(_read("values.yaml")), _read(f"values-{name}.yaml") if name else {}
    )


def laid_over(below: dict, above: dict) -> dict:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        is_map = isinstance(old, dict) and isinstance(value, dict)
        both[key] = laid_over(old, value) if is_map else value
    return both


def helm(*words: object) -> subprocess.CompletedProcess:
    """What helm says; the test is skipped where there is none."""
    if not shutil.which("helm"):
        pytest.skip("needs helm on the PATH")
    return subprocess.run(["helm", *map(str, words)], capture_output=True, text=True)


@functools.cache
def rendered(name: str, *options: str) -> tuple[dict, ...]:
    """The objects of a set of values."""
    done = helm("template", "vpp", CHART, "-f", CHART / f"values-{name}.yaml", *options)
    assert done.returncode == 0, done.stderr
    return tuple(item for item in yaml.safe_load_all(done.stdout) if item)


def pods(objects) -> dict[str, dict]:
    """Name of each object that makes Pods -> the template of these."""
    found = {}
    for item in objects:
        spec = item.get("spec", {})
        if item["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if item["kind"] in ("Deployment", "Job", "CronJob"):
            found[f"{item['kind']} {item['metadata']['name']}"] = spec["template"]
    return found


def closed(schema):
    """The schema, in which each object with properties has these only."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    is_object = isinstance(made.get("properties"), dict) and "type" in made
    if is_object and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@functools.cache
def definitions() -> dict:
    """Kubernetes' own schemas, which refuse unknown fields."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None:
        pytest.skip("needs the package kubernetes-validate")
    (folder,) = found.submodule_search_locations
    newest = max(
        Path(folder).glob("*/v1.*-local-strict"),
        key=lambda path: int(path.name.split(".")[1]),
    )
    given = json.loads((newest / "_definitions.json").read_text())
    return {"$defs": given["$defs"]}


@functools.cache
def custom_schemas() -> dict[str, dict]:
    """apiVersion/Kind -> schema of an object that is not Kubernetes' own."""
    made = {}
    for name, spec in OWN.items():
        made[name] = {"type": "object", "properties": {**METADATA, "spec": spec}}
    for path in (SHARED / "schemas").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())["spec"]
        for version in definition["versions"]:
            name = f"{definition['group']}/{version['name']}/{definition['names']['kind']}"
            made[name] = version["schema"]["openAPIV3Schema"]
    return {name: closed(schema) for name, schema in made.items()}


def schema_of(item: dict) -> dict | None:
    """The schema of an object, None where nobody has it."""
    group, _, version = item["apiVersion"].rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        return custom_schemas().get(f"{item['apiVersion']}/{item['kind']}")
    for name, schema in definitions()["$defs"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if (kind["group"], kind["version"], kind["kind"]) == (group, version, item["kind"]):
                return {"$ref": f"urn:kubernetes#/$defs/{name}"}
    return None


def faults(item: dict, schema: dict) -> list[str]:
    """What a schema refuses of an object."""
    own = Resource.from_contents(definitions(), default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:kubernetes", own)
    checked = jsonschema.Draft202012Validator(schema, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in checked.iter_errors(item)]
