"""`submit` and `jobs`: what travels, what is refused and why, and how a job is followed. Real Ray: tests/cluster."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from grid import submit
from grid.bundle import PACKAGES, Bundle, make_bundle
from grid.expand import expand
from grid.job_server import JobServer, JobServerAwayError
from grid.problems import SpecError
from grid.spec_parser import load_spec
from grid.submit import entrypoint, follow_job, show_jobs, submit_grid
from tests import source_tree
from tests.grid.dashboards import Dashboard, dashboard
from tests.grid.specs import complaint, decoygrid, write

STORE = "s3://bucket/store"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard, and a home without a token of somebody else's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "DECOYGRID_STORE", "DECOYGRID_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(submit, "POLL", 0.01)
    with dashboard() as found:
        yield found


def send(spec: str, ray: Dashboard, **changes: Any) -> int:
    asked = {"store_uri": STORE, "tracking": None, "follow": False, "as_json": False, **changes}
    return submit_grid(spec, asked.pop("overrides", ()), address=ray.address, **asked)


def only(caught: pytest.ExceptionInfo[SpecError]) -> str:
    (problem,) = caught.value.problems
    return f"{problem.place}: {problem.message}"


def unpacked(data: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder


def test_a_grid_travels_with_its_code_and_runs_there(
    ray: Dashboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job's working directory alone is enough: its own code makes the plan that is made here."""
    spec = write(tmp_path)
    assert send(spec, ray, overrides=["seeds=[0, 1]"]) == 0
    assert capsys.readouterr().out == "raysubmit_0\n"
    (job,) = ray.jobs.values()
    (package,) = ray.packages.items()
    assert job["runtime_env"]["working_dir"] == f"gcs://{package[0]}"
    there = unpacked(package[1], tmp_path / "there")
    assert {path.name for path in there.iterdir()} == {*PACKAGES, "spec"}
    words = job["entrypoint"].removeprefix("exec python -m grid run ").split()
    assert words[1:] == ["--address", "auto", "--store", STORE, "--tracking", '"${DECOYGRID_TRACKING:-none}"']
    command = [sys.executable, "-m", "grid", "plan", words[0], "--json", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=there, env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=True)
    planned = expand(load_spec(spec, ["seeds=[0, 1]"]))
    assert set(json.loads(done.stdout)["table"]) == set(planned.stages())


def test_the_same_again_is_not_sent_again_and_says_who_runs_it(
    ray: Dashboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write(tmp_path)
    send(spec, ray)
    send(spec, ray)
    assert [line.split()[0] for line in ray.asked].count("PUT") == 1
    assert "raysubmit_0 runs a grid of this name" in capsys.readouterr().err
    assert len(ray.jobs) == 2


def test_all_code_travels() -> None:
    assert set(PACKAGES) == set(source_tree.PACKAGES)


def bundle(folder: Path, **changes: Any) -> Bundle:
    return make_bundle(load_spec(write(folder, **changes), look=False))


def test_weights_travel_and_photographs_do_not(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / "w.safetensors")
    victim = {"arch": "vgg16", "width": 0.0625, "weights": "w.safetensors"}
    faces = {"name": "folder", "root": "/data/faces", "size": 32, "private_people": [0, 4]}
    found = bundle(tmp_path, victim=victim, dataset=faces, inception_weights="/opt/inception.pth")
    there = unpacked(found.data, tmp_path / "there")
    content = yaml.safe_load((there / found.spec).read_text())
    inside = there / "spec" / content["victim"]["weights"]
    assert inside.read_bytes() == (tmp_path / "w.safetensors").read_bytes()
    assert content["dataset"]["root"] == "/data/faces"
    assert set(found.left) == {"/data/faces", "/opt/inception.pth"}
    assert found.data == bundle(tmp_path, victim=victim, dataset=faces, inception_weights="/opt/inception.pth").data


def test_every_path_that_cannot_travel_is_named(tmp_path: Path) -> None:
    victim = {"arch": "vgg16", "width": 0.0625, "weights": "absent.safetensors"}
    with pytest.raises(SpecError) as caught:
        bundle(
            tmp_path, victim=victim, dataset={"name": "folder", "root": "faces", "size": 32, "private_people": [0, 4]}
        )
    said = "\n".join(f"{p.place}: {p.message}" for p in caught.value.problems)
    assert "dataset.root: 'faces': photographs do not travel" in said
    assert "victim.weights: 'absent.safetensors': no such file here" in said
    assert "name its absolute path there" in said


@pytest.mark.parametrize("store", [".decoygrid/store", "store", "~/store", "file://store", ""])
def test_a_store_of_this_machine_is_refused(ray: Dashboard, tmp_path: Path, store: str) -> None:
    with pytest.raises(SpecError) as caught:
        send(write(tmp_path), ray, store_uri=store)
    assert "means a folder of this machine, and the job runs on the cluster" in only(caught)
    assert ray.asked == []


@pytest.mark.parametrize("store", ["s3://b:99999/x", "s3://b/x#y", "s3://b/x?endpoint_override="])
def test_a_uri_that_no_node_could_open_is_refused_here(ray: Dashboard, tmp_path: Path, store: str) -> None:
    with pytest.raises(SpecError, match=r"--store s3://b.*: .*'b:99999'|'#y'|'endpoint_override' has no value"):
        send(write(tmp_path), ray, store_uri=store)
    assert ray.asked == []


@pytest.mark.parametrize("store", ["s3://b/x", "gs://b/x", "/mnt/shared", "file:///mnt/shared", None])
def test_stores_of_the_cluster_are_taken(ray: Dashboard, tmp_path: Path, store: str | None) -> None:
    assert send(write(tmp_path), ray, store_uri=store) == 0


def test_a_database_of_this_machine_is_refused(ray: Dashboard, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        send(write(tmp_path), ray, tracking="sqlite:///.decoygrid/mlflow.db")
    assert "means a file of this machine" in only(caught)


@pytest.mark.parametrize(("set_there", "code"), [("/mnt/x y", 0), ("", 1)])
def test_a_store_that_only_the_nodes_name(set_there: str, code: int) -> None:
    """By the shell that runs the job: their own store, or an end with the reason before anything is computed."""
    command = entrypoint("spec/it's.yaml", None, None).replace("exec python -m grid", "printf '%s|'", 1)
    environment = {"PATH": "/usr/bin:/bin", "DECOYGRID_STORE": set_there}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert min(done.returncode, 1) == code
    if code:
        assert "submit with --store" in done.stderr
    else:
        assert done.stdout == "run|spec/it's.yaml|--address|auto|--store|/mnt/x y|--tracking|none|"


def test_a_grid_that_is_too_heavy_is_refused(ray: Dashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("grid.job_server.LARGEST", 1000)
    with pytest.raises(SpecError) as caught:
        send(write(tmp_path), ray)
    assert "what has to travel has" in only(caught)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8265", "ray://head:10001", "auto", "http://", "http://a b:1", "http://h:x"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(SpecError) as caught:
        JobServer(address)
    assert "expected the address of a dashboard, http://HOST:8265" in only(caught)


def test_nobody_there_is_said_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    spec, began = write(tmp_path), time.monotonic()
    done = decoygrid("submit", spec, "--store", STORE, "--address", f"http://127.0.0.1:{port}", cwd=tmp_path)
    assert "nobody answers" in complaint(done)
    assert "ray dashboard" in done.stderr
    assert time.monotonic() - began < 30, "a bound for a busy machine"


def test_one_who_listens_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grid.job_server.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SpecError) as caught:
        JobServer(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "nobody answers" in only(caught)


def test_tokens(ray: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.token = "right"
    with pytest.raises(SpecError) as caught:
        JobServer(ray.address)
    assert "it asks for a token, and there is none here; put the cluster's into ~/.ray/auth_token" in only(caught)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("wrong\n")
    with pytest.raises(SpecError) as caught:
        JobServer(ray.address)
    assert "it has another token than this" in only(caught)
    (tmp_path / ".ray" / "auth_token").write_text("right\n")
    assert JobServer(ray.address).jobs() == []
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(SpecError):
        JobServer(ray.address)


def test_something_else_that_listens(ray: Dashboard) -> None:
    ray.page = b"<html>router</html>"
    with pytest.raises(SpecError) as caught:
        JobServer(ray.address)
    assert "no Ray dashboard with the Jobs API" in only(caught)


def test_a_cluster_that_refuses_says_why(ray: Dashboard, tmp_path: Path) -> None:
    server = JobServer(ray.address)
    ray.fail = [500]
    with pytest.raises(SpecError) as caught:
        server.submit("true", b"", {}, {})
    assert "the cluster refused (500): ValueError: no room" in only(caught)


@pytest.mark.parametrize(("exit_code", "expected"), [(0, 0), (1, 1), (2, 2), (137, 1)])
def test_following_prints_all_once_and_ends_as_the_grid(
    ray: Dashboard, capsys: pytest.CaptureFixture[str], exit_code: int, expected: int
) -> None:
    name = ray.add("x", {})
    ray.logs[name] = ["a\n", "a\n", "a\nb\n", "a\nb\nlast\n"]
    ray.ends_after, ray.exit_code = 3, exit_code
    assert follow_job(JobServer(ray.address), name) == expected
    assert capsys.readouterr().out == "a\nb\nlast\n"


def test_a_tunnel_that_breaks_is_waited_for(ray: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ray.add("x", {})
    server, ask = JobServer(ray.address), JobServer.logs
    away = iter([True, True])

    def flaky(self: JobServer, job: str) -> str:
        if next(away, False):
            raise JobServerAwayError("gone")
        return ask(self, job)

    monkeypatch.setattr(JobServer, "logs", flaky)
    assert follow_job(server, name) == 0
    monkeypatch.setattr(submit, "PATIENCE", 0.0)
    away = iter([True] * 100)
    assert follow_job(server, name) == 1


def jobs(ray: Dashboard, name: str | None = None, **changes: Any) -> int:
    asked = {"logs": False, "follow": False, "stop": False, "as_json": False, **changes}
    return show_jobs(name, address=ray.address, **asked)


def test_jobs_are_listed_shown_and_stopped(ray: Dashboard, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ray.add("x", {"decoygrid": "orl"}, "FAILED"), ray.add("y", {"decoygrid": "faces"})
    ray.ends_after, ray.logs[first] = 10, ["its log\n"]
    assert jobs(ray) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [[first, "orl", "failed"], [second, "faces", "running"]]
    assert jobs(ray, first) == 1, "it has failed"
    assert jobs(ray, second, as_json=True) == 0
    assert jobs(ray, first, logs=True) == 0
    assert capsys.readouterr().out.endswith("its log\n")
    assert jobs(ray, second, stop=True) == 0
    assert "is being stopped; what is done is stored" in capsys.readouterr().out
    assert jobs(ray, second, stop=True) == 0
    assert "had ended: stopped" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["raysubmit_9", "../../api/packages", "a?b"])
def test_a_job_that_is_not_there(ray: Dashboard, name: str) -> None:
    ray.add("x", {})
    with pytest.raises(SpecError) as caught:
        jobs(ray, name)
    assert "no such job" in only(caught)
    assert "raysubmit_0" in only(caught)
    assert all(name not in line for line in ray.asked)


def test_what_needs_a_job_says_so(ray: Dashboard) -> None:
    with pytest.raises(SpecError) as caught:
        jobs(ray, stop=True)
    assert "need the ID of a job" in only(caught)
