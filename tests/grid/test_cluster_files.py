"""cluster.yaml, local.yaml and kuberay.yaml: Ray takes them, they install what was tested, nothing is open."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from grid.cli import app
from grid.spec_source import SPECS
from tests.source_tree import PACKAGES, REPOSITORY

CLUSTERS = REPOSITORY / "grid" / "clusters"
FILES = {"aws": REPOSITORY / "cluster.yaml", "local": CLUSTERS / "local.yaml", "kuberay": CLUSTERS / "kuberay.yaml"}
BY_RAY_UP = ("aws", "local")
INSTALL = "pip install {} -c constraints.txt -e '.[cluster]'"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name: str) -> str:
    return FILES[name].read_text(encoding="utf-8")


def content(name: str) -> dict[str, Any]:
    found = yaml.safe_load(text(name))
    assert isinstance(found, dict)
    return found


def pinned() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def ray_starts(config: dict[str, Any]) -> list[str]:
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("name", BY_RAY_UP)
def test_ray_takes_it(name: str) -> None:
    """The same check that `ray up` makes; it refuses a key that it does not know."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(content(name)))
    with pytest.raises(Exception, match="unknown_key"):
        util.validate_config(util.prepare_config({**content(name), "unknown_key": 1}))


@pytest.mark.parametrize("name", FILES)
def test_a_newcomer_changes_three_lines(name: str) -> None:
    assert text(name).count("# CHANGE:") == 3


@pytest.mark.parametrize("name", BY_RAY_UP)
def test_ray_up_installs_what_was_tested(name: str) -> None:
    config = content(name)
    assert any(INSTALL.format("-q") in command for command in config["setup_commands"])
    mounts = config["file_mounts"]
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"], *PACKAGES}
    assert {mounts.get(f"~/decoygrid/{one}") for one in needed} == needed, "pip needs them beside constraints.txt"
    assert all((REPOSITORY / one).exists() for one in needed)


def test_the_image_of_kuberay_installs_what_was_tested() -> None:
    lines = (CLUSTERS / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert f"RUN python -m {INSTALL.format('--no-cache-dir')}" in lines
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[2:-1]}
    assert copied == {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"], *PACKAGES}
    images = {one["image"] for one in _containers(content("kuberay"))}
    (build,) = re.findall(r"docker build -t (\S+) -f grid/clusters/Dockerfile", "\n".join(lines))
    assert images == {build}
    assert build.endswith(f":{PROJECT['version']}")


def test_images_have_the_ray_that_was_tested() -> None:
    """pip would otherwise put another Ray over the image's, or the image's would not fit the client's."""
    image = f"rayproject/ray:{pinned()['ray']}-py311-gpu"
    assert content("aws")["docker"]["image"] == image
    assert f"FROM {image}\n" in (CLUSTERS / "Dockerfile").read_text(encoding="utf-8")
    assert content("kuberay")["spec"]["rayClusterSpec"]["rayVersion"] == pinned()["ray"]


def test_what_clusters_need_is_pinned() -> None:
    extra = PROJECT["optional-dependencies"]["cluster"]
    names = {re.split(r"[\[><=~;]", requirement)[0] for requirement in extra}
    assert names <= set(pinned())
    assert any(requirement.startswith("ray[default]") for requirement in extra), "jobs come through its dashboard"


@pytest.mark.parametrize("name", BY_RAY_UP)
def test_no_node_starts_without_a_token_and_the_dashboard_is_closed(name: str) -> None:
    config = content(name)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    starts = ray_starts(config)
    assert len(starts) == 2
    for command in starts:
        assert re.search(r"export [^;&]*RAY_AUTH_MODE=token", command.split("ray start")[0])
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "security_group" not in config["provider"], "Ray's own lets in nothing but ssh"


def test_aws_pays_for_gpus_only_while_there_is_work() -> None:
    config = content("aws")
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert config["head_node_type"] == "head"
    assert head["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in ray_starts(config)[0]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"], "the head stays"
    assert 0 < config["idle_timeout_minutes"] <= 15
    assert config["provider"]["cache_stopped_nodes"] is False
    assert config["max_workers"] == gpu["max_workers"]


def test_the_nodes_to_come_are_told_as_the_files_have_them() -> None:
    options = [shlex.split(one)[1].partition("=") for one in content("aws")["docker"]["run_options"] if "--env" in one]
    aws = {name: value for name, _, value in options}
    gpu = content("aws")["available_node_types"]["gpu"]
    told = dict(part.split("=") for part in aws["DECOYGRID_WORKERS"].split(","))
    assert {key: int(told[key]) for key in ("nodes", "cpus", "gpus")} == {
        "nodes": gpu["max_workers"],
        "cpus": gpu["resources"]["CPU"],
        "gpus": gpu["resources"]["GPU"],
    }
    assert gpu["labels"] == {"ray.io/accelerator-type": told["accelerator"]}
    (group,) = content("kuberay")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    pods = {one["name"]: one["value"] for one in container["env"]}
    told = dict(part.split("=") for part in pods["DECOYGRID_WORKERS"].split(","))
    limits = container["resources"]["limits"]
    assert told["nodes"] == str(group["maxReplicas"])
    assert (told["cpus"], told["gpus"]) == (limits["cpu"], limits["nvidia.com/gpu"])
    for environment in (aws, pods):
        assert environment["DECOYGRID_STORE"].startswith("s3://")
        assert "DECOYGRID_TRACKING" in environment


def test_kuberay_has_the_shape_of_a_ray_job() -> None:
    job = content("kuberay")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["serviceType"] == "ClusterIP"
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert workers["minReplicas"] == workers["replicas"] == 0 < workers["maxReplicas"]
    for container in _containers(job):
        assert container["resources"]["requests"] == container["resources"]["limits"], "Ray counts what is promised"
    strings = [one["value"] for container in _containers(job) for one in container["env"]]
    strings += [str(value) for group in (head, workers) for value in group["rayStartParams"].values()]
    assert all(isinstance(one, str) for one in strings), "Kubernetes takes no numbers there"


def test_kuberay_runs_a_command_that_there_is() -> None:
    words = shlex.split(content("kuberay")["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", "grid"]
    command = get_command(app).commands[words[3]]  # type: ignore[attr-defined]
    given = command.make_context(words[3], words[4:]).params
    assert given["address"] == "auto"
    assert given["overrides"] == ["numerics=cuda_fp32"], "the head that plans has no GPU"
    assert (SPECS / f"{given['spec']}.yaml").exists()
    assert Path(given["out"]).is_absolute()


def _containers(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]
