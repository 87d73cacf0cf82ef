"""The files for ``ray up``: valid by Ray's own checks, with a token, and spot instances for workers only."""

import copy
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from click import UsageError
from jsonschema import ValidationError
from shell_checks import ray_options, shellcheck

from cluster.deployment.deployment_files import find_file

ROOT = Path(__file__).parents[3]
CLOUDS = ("aws-p4d.yaml", "gcp-a2.yaml")
ALL = (*CLOUDS, "on-premises.yaml")


def read(name):
    return yaml.safe_load(find_file(name).path.read_text())


def prepared(config):
    """As ``ray up`` prepares it before it contacts a cloud."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    filled = prepare_config(copy.deepcopy(config))
    validate_config(filled)
    return filled


def machines(config):
    types = config["available_node_types"]
    head = types[config["head_node_type"]]
    return head, [each for each in types.values() if each is not head]


@pytest.mark.parametrize("name", ALL)
def test_the_file_is_valid_for_ray(name):
    config = prepared(read(name))
    assert config["cluster_name"] == "scribble-search"
    assert config["max_workers"] >= 2


@pytest.mark.parametrize("name", ALL)
def test_a_misspelt_key_is_detected(name):
    config = read(name)
    config["idle_timeout_minute"] = config.pop("idle_timeout_minutes")
    with pytest.raises(ValidationError, match="idle_timeout_minute"):
        prepared(config)


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_come_and_go_and_the_head_trains_nothing(name):
    config = prepared(read(name))
    head, (worker,) = machines(config)
    assert head["resources"] == {"CPU": 0}
    assert ray_options(ray_start(config["head_start_ray_commands"]))["num_cpus"] == 0
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert worker["resources"]["GPU"] >= 1 and config["idle_timeout_minutes"] > 0


def test_on_aws_the_workers_are_spot_machines_and_the_head_is_not():
    head, (worker,) = machines(read("aws-p4d.yaml"))
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert (worker["node_config"]["InstanceType"], worker["resources"]["GPU"]) == ("p4d.24xlarge", 8)


@pytest.mark.parametrize("spoilt", [None, "ImageID"])
def test_the_requests_to_ec2_are_valid(spoilt):
    """Checked with botocore's model of the service; Ray adds the counts."""
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    head, workers = machines(read("aws-p4d.yaml"))
    for machine in (head, *workers):
        wanted = {**machine["node_config"], "MinCount": 1, "MaxCount": 1}
        if spoilt:
            wanted[spoilt] = wanted.pop("ImageId")
        report = ParamValidator().validate(wanted, shape)
        assert report.has_errors() == bool(spoilt), report.generate_report()


def test_ray_launches_a_spot_worker_on_an_emulated_ec2(tmp_path, monkeypatch):
    """The steps of Ray from the file to a machine: key pair, security group, profile, instance type."""
    import boto3
    from moto import mock_aws
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps the private key there
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "emulated")
    with mock_aws():
        for name in ("scribble-search-head", "scribble-search-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=name)
        config = bootstrap_aws(prepared(read("aws-p4d.yaml")))
        wanted = config["available_node_types"]["p4d-spot"]
        detected = copy.deepcopy(config)
        for machine in detected["available_node_types"].values():
            machine["resources"] = {}
        detected = AWSNodeProvider.fillout_available_node_types_resources(detected)
        found = detected["available_node_types"]["p4d-spot"]["resources"]
        assert {key: found[key] for key in ("CPU", "GPU")} == wanted["resources"]

        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        provider.create_node(wanted["node_config"], {"ray-node-type": "worker", "ray-node-name": "worker"}, 1)
        ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
        (machine,) = ec2.describe_instances()["Reservations"][0]["Instances"]
        assert (machine["InstanceType"], machine["InstanceLifecycle"]) == ("p4d.24xlarge", "spot")
        assert machine["IamInstanceProfile"]["Arn"].endswith("/scribble-search-worker")
        (group,) = ec2.describe_security_groups(GroupIds=[machine["SecurityGroups"][0]["GroupId"]])["SecurityGroups"]
        from_outside = [rule["FromPort"] for rule in group["IpPermissions"] if rule["IpRanges"]]
        assert from_outside == [22]


def test_on_gcp_the_workers_are_spot_machines_and_the_head_is_not():
    head, (worker,) = machines(read("gcp-a2.yaml"))
    assert worker["node_config"]["scheduling"]["provisioningModel"] == "SPOT"
    assert worker["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE"  # GCP refuses others with a GPU
    assert "scheduling" not in head["node_config"]
    gpus = re.fullmatch(r"a2-highgpu-(\d+)g", worker["node_config"]["machineType"])
    assert gpus and worker["resources"] == {"CPU": 12 * int(gpus[1]), "GPU": int(gpus[1])}


@pytest.mark.parametrize("name", ALL)
def test_ray_requires_the_token_and_its_dashboard_listens_on_loopback(name):
    config = read(name)
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert commands[0] == "ray stop" and "RAY_AUTH_MODE=token " in commands[-1]
    head = ray_options(ray_start(config["head_start_ray_commands"]))
    assert head["head"] and (head["port"], head["dashboard_host"]) == (6379, "127.0.0.1")
    assert ray_options(ray_start(config["worker_start_ray_commands"]))["address"] == "$RAY_HEAD_IP:6379"
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"][0]


@pytest.mark.parametrize("name", ALL)
def test_every_node_installs_this_project_with_the_tested_versions(name):
    config = read(name)
    home = "~/scribble-search"
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    sources = [package.removesuffix("*") for package in found["include"]]
    for source in (*sources, "pyproject.toml", "constraints.txt", "README.md"):
        assert config["file_mounts"][f"{home}/{source}"] == source and (ROOT / source).exists()
    (install,) = [command for command in config["setup_commands"] if "pip install" in command]
    assert f"--constraint {home}/constraints.txt {home}" in install


@pytest.mark.parametrize("name", ALL)
def test_its_shell_commands_pass_the_check(name):
    config = read(name)
    for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[key]:
            assert not (errors := shellcheck(f"{command}\n")), errors


def test_errors_in_shell_or_ray_commands_are_detected():
    assert "SC2086" in shellcheck("rm -r $1\n")
    with pytest.raises(UsageError):
        ray_options("ray start --dashbord-host=127.0.0.1")


def ray_start(commands):
    return re.search(r"ray start .*", commands[-1])[0]
