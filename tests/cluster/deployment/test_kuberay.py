"""The Kubernetes files: valid under a strict version of KubeRay's resource definitions and consistent."""

import copy
import os
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from cluster.deployment.deployment_files import find_file

REPOSITORY = Path(__file__).resolve().parents[3]
CRDS = Path(os.environ.get("KUBERAY_CRDS") or REPOSITORY.parent / "shared" / "data" / "kuberay")
NAMES = ("kuberay-cluster.yaml", "kuberay-job.yaml")
with_crds = pytest.mark.skipif(
    not CRDS.is_dir(), reason=f"no definitions of KubeRay at {CRDS}; KUBERAY_CRDS names another place"
)


def strict(schema):
    """The schema of a definition as JSON Schema that rejects unknown keys.

    Where a number or a string may stand, the definitions say so in JSON Schema's own words too.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    assert not schema.get("x-kubernetes-int-or-string") or "anyOf" in schema
    if (
        isinstance(schema.get("properties"), dict)
        and "additionalProperties" not in schema
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    return made


@pytest.fixture(scope="module")
def schemas():
    """The strict schema of each kind, in the version that the files use."""
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        definition = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        (version,) = [each for each in definition["versions"] if each["name"] == "v1" and each["served"]]
        found[definition["names"]["kind"]] = Draft202012Validator(strict(version["schema"]["openAPIV3Schema"]))
    return found


def objects(name):
    return {each["kind"]: each for each in yaml.safe_load_all(find_file(name).path.read_text())}


def ray_object(name):
    return next(each for each in objects(name).values() if each["apiVersion"] == "ray.io/v1")


def cluster_of(ray):
    return ray["spec"]["rayClusterSpec"] if ray["kind"] == "RayJob" else ray["spec"]


def errors(schemas, ray):
    return [f"{error.json_path}: {error.message}" for error in schemas[ray["kind"]].iter_errors(ray)]


@with_crds
@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_valid_for_kuberay(schemas, name):
    assert errors(schemas, ray_object(name)) == []


def misspelt(ray, path, key, other):
    found = ray
    for step in path:
        found = found[step]
    found[other] = found.pop(key)


@with_crds
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "enableInTreeAutoscaling"),
        (("authOptions",), "mode"),
        (("workerGroupSpecs", 0), "maxReplicas"),
        (("headGroupSpec", "template", "spec", "securityContext"), "runAsNonRoot"),
        (("workerGroupSpecs", 0, "template", "spec", "containers", 0), "volumeMounts"),
        (("workerGroupSpecs", 0, "template", "spec", "volumes", 0, "persistentVolumeClaim"), "claimName"),
    ],
)
def test_a_misspelt_key_is_detected_at_any_depth(schemas, name, path, key):
    ray = copy.deepcopy(ray_object(name))
    misspelt(cluster_of(ray), path, key, f"{key}s")
    assert any(f"'{key}s' was unexpected" in error for error in errors(schemas, ray))


@with_crds
@pytest.mark.parametrize("wrong", [True, 1.5, "eight gigabytes"])
def test_a_wrong_quantity_is_detected(schemas, wrong):
    ray = copy.deepcopy(ray_object(NAMES[0]))
    ray["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = wrong
    assert len(errors(schemas, ray)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_file_defines_the_shared_volume_that_its_nodes_mount(name):
    claim = objects(name)["PersistentVolumeClaim"]
    assert set(claim) == {"apiVersion", "kind", "metadata", "spec"} and claim["apiVersion"] == "v1"
    assert claim["spec"] == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "200Gi"}}}
    assert claim == objects(NAMES[0])["PersistentVolumeClaim"]  # applying both is no conflict
    for pod in pods(name):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert set(mounts) == set(volumes) and mounts["shared"] == "/shared"


@pytest.mark.parametrize("name", NAMES)
def test_gpu_workers_come_and_go_and_the_head_trains_nothing(name):
    spec = cluster_of(ray_object(name))
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert spec["enableInTreeAutoscaling"] and spec["autoscalerOptions"]["idleTimeoutSeconds"] > 0
    assert (workers["minReplicas"], workers["replicas"]) == (0, 0) and workers["maxReplicas"] >= 2
    assert head["rayStartParams"]["num-cpus"] == "0"
    head_pod, worker_pod = pods(name)
    assert "nvidia.com/gpu" not in head_pod["containers"][0]["resources"]["limits"]
    gpu = worker_pod["containers"][0]["resources"]
    assert gpu["limits"]["nvidia.com/gpu"] == gpu["requests"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("name", NAMES)
def test_it_requires_a_token_and_contains_no_secret(name):
    spec = cluster_of(ray_object(name))
    assert spec["authOptions"] == {"mode": "token"}  # KubeRay makes the token itself
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP" and "enableIngress" not in spec["headGroupSpec"]
    assert "Secret" not in objects(name)
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_both_files_describe_the_same_cluster():
    standing, short = (cluster_of(ray_object(name)) for name in NAMES)
    assert standing == short


def pods(name):
    spec = cluster_of(ray_object(name))
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]
