"""The Slurm scripts, run by bash with fakes of srun, scontrol, ray and python that record their calls."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click import ClickException
from shell_checks import ray_options, shellcheck

from cluster.deployment.deployment_files import find_file

BOTH = ("slurm-symmetric.sh", "slurm-classic.sh")

# Each stand-in writes down who it is, its words, and what it finds of the token.
RECORD = f"""#!{sys.executable} -IS
import json, os, stat, sys
path = os.environ.get("RAY_AUTH_TOKEN_PATH")
call = {{"name": os.path.basename(sys.argv[0]), "words": sys.argv[1:], "mode": os.environ.get("RAY_AUTH_MODE")}}
if path:
    call |= {{"private": stat.S_IMODE(os.stat(path).st_mode), "token": open(path).read(), "path": path}}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
"""
# The command after srun's options runs once per task, and ends when srun gets SIGTERM.
SRUN = """
import signal, subprocess
command, tasks = sys.argv[1:], 1
while command[0].startswith("--"):
    option, _, value = command.pop(0).partition("=")
    tasks = int(value) if option == "--ntasks" else tasks
terminated, started = [], []
signal.signal(signal.SIGTERM, lambda *_: terminated.append(True) or [task.terminate() for task in started])
for _ in range(tasks):
    started.append(subprocess.Popen(command))
    if terminated:
        started[-1].terminate()
if os.environ.get("CANCEL"):
    os.kill(os.getppid(), signal.SIGTERM)
sys.exit(max(task.wait() for task in started))
"""
RAY = """
import signal, subprocess
if sys.argv[1] == "symmetric-run" and not os.environ.get("NO_RAY"):
    subprocess.run(sys.argv[sys.argv.index("--") + 1 :])  # its exit code is ignored, as by Ray
elif sys.argv[1] == "start":
    def end(*_):
        with open(os.environ["ENDED"], "a") as ended:
            ended.write("a node\\n")
        sys.exit()
    signal.signal(signal.SIGTERM, end)
    ready = os.open(os.environ["READY"], os.O_RDWR)
    os.write(ready, b".")
    signal.pause()
elif sys.argv[1] == "health-check":
    sys.exit(1 if os.environ.get("NO_RAY") else 0)
"""
# A search that ends with the given code, once the Ray of every node is up.
PYTHON = """
ready = os.open(os.environ["READY"], os.O_RDWR)
for _ in range(int(os.environ["NODES"])):
    os.read(ready, 1)
sys.exit(int(os.environ["ENDS_WITH"]))
"""


class Job:
    def __init__(self, folder):
        self.folder, self.home = folder, folder / "home"
        project, bin_ = folder / "my project", folder / "bin"
        for each in (self.home, bin_, project / ".venv/bin"):
            each.mkdir(parents=True)
        os.mkfifo(folder / "ready")
        for path, does in (
            (bin_ / "srun", SRUN),
            (bin_ / "scontrol", "print('node7', 'node8', 'node9', sep='\\n')"),
            (bin_ / "hostname", "print('10.0.0.7 172.17.0.1')"),
            (project / ".venv/bin/ray", RAY),
            (project / ".venv/bin/python", PYTHON),
        ):
            path.write_text(RECORD + does)
            path.chmod(0o755)
        (bin_ / "sleep").symlink_to("/bin/true")
        self.project = project
        self.env = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "CALLS": str(folder / "calls"),
            "ENDED": str(folder / "ended"),
            "READY": str(folder / "ready"),
            "SLURM_SUBMIT_DIR": str(project),
            "SLURM_JOB_ID": "1234567",
            "SLURM_JOB_NODELIST": "node[7-9]",
            "SLURM_CPUS_PER_TASK": "64",
        }

    def run(self, name, *words, nodes=3, ends_with=0, **env):
        started = nodes if "classic" in name else 0
        env = {**env, "SLURM_JOB_NUM_NODES": str(nodes), "NODES": str(started), "ENDS_WITH": str(ends_with)}
        command = ["bash", find_file(name).path, *words]
        job = subprocess.Popen(
            command,
            env=self.env | env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, self.output = job.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):  # where all ended as it should
                os.killpg(job.pid, signal.SIGKILL)
        lines = (self.folder / "calls").read_text().splitlines()
        self.calls = [json.loads(line) for line in lines]
        return job.returncode

    def of(self, name, *words):
        return [call for call in self.calls if call["name"] == name and call["words"][: len(words)] == list(words)]


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


@pytest.mark.parametrize("name", BOTH)
def test_the_search_runs_on_the_ray_of_this_job_with_the_given_arguments(job, name):
    assert job.run(name, "full_grid", "--set", "data=/my data") == 0, job.output
    (search,) = job.of("python")
    given = ["full_grid", "--set", "data=/my data", "--address", "10.0.0.7:24567", "--runs", f"{job.project}/runs"]
    assert search["words"] == ["-m", "search", "launch", *given]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("code", [0, 1, 3, 130])
def test_the_job_returns_the_exit_code_of_the_search(job, name, code):
    assert job.run(name, "full_grid", ends_with=code) == code, job.output


def test_symmetric_run_waits_for_all_nodes_and_shows_the_dashboard_on_loopback(job):
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    job.run("slurm-symmetric.sh", "full_grid")
    (call,) = job.of("ray", "symmetric-run")
    mine = call["words"][: call["words"].index("--")]
    options = ray_options(["ray", *mine])
    assert (options["address"], options["min_nodes"]) == ("10.0.0.7:24567", 3)
    start = ray_options(["ray", "start", *curate_and_validate_ray_start_args(mine[1:])])
    assert (start["num_cpus"], start["dashboard_host"]) == (64, "127.0.0.1")
    with pytest.raises(ClickException):
        curate_and_validate_ray_start_args([*mine[1:], "--head"])


def test_classic_starts_the_head_here_and_a_worker_on_each_other_node(job):
    job.run("slurm-classic.sh", "full_grid")
    head, workers = sorted(job.of("srun"), key=lambda call: "--head" not in call["words"])
    assert head["words"][:3] == ["--nodes=1", "--ntasks=1", "--nodelist=node7"]
    assert workers["words"][:3] == ["--nodes=2", "--ntasks=2", "--exclude=node7"]
    for call in (head, workers):
        options = ray_options(call["words"][call["words"].index("ray") :])
        assert options["block"] and options["num_cpus"] == 64
        if call is head:
            assert (options["node_ip_address"], options["port"]) == ("10.0.0.7", 24567)
            assert options["dashboard_host"] == "127.0.0.1"
        else:
            assert options["address"] == "10.0.0.7:24567" and not options["head"]
    assert all(ray_options(["ray", *call["words"]]) for call in job.of("ray", "health-check"))


def test_classic_on_a_single_node_starts_no_worker(job):
    assert job.run("slurm-classic.sh", "full_grid", nodes=1) == 0, job.output
    assert len(job.of("srun")) == 1


@pytest.mark.parametrize("name", BOTH)
def test_every_task_gets_a_new_token_that_only_its_owner_can_read(job, name):
    job.run(name, "full_grid")
    ray = [call for call in job.calls if call["name"] in ("srun", "ray", "python")]
    assert len(ray) >= 3 and all(call["mode"] == "token" for call in ray)
    assert {call["private"] for call in ray} == {0o600}
    (token,) = {call["token"] for call in ray}
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    assert token not in json.dumps([call["words"] for call in job.calls])
    assert ray[0]["path"].startswith(str(job.home))  # which all nodes share
    job.run(name, "full_grid")
    assert len({call["token"] for call in job.of("python")}) == 2


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("env", [{}, {"CANCEL": "1"}, {"NO_RAY": "1"}])
def test_nothing_is_left_behind_when_it_ends(job, name, env):
    if env.get("CANCEL") and "classic" in name:
        env = {**env, "NO_RAY": "1"}
    code = job.run(name, "full_grid", **env)
    assert (code == 0) == (env == {})
    assert list(job.home.iterdir()) == []
    if "classic" in name and env == {}:
        assert (job.folder / "ended").read_text() == "a node\n" * 3


def test_a_head_that_never_comes_up_is_reported(job):
    assert job.run("slurm-classic.sh", "full_grid", NO_RAY="1") == 1
    assert "Ray did not start at 10.0.0.7:24567" in job.output and job.of("python") == []


@pytest.mark.parametrize("name", BOTH)
def test_slurm_gives_whole_gpu_nodes_and_queues_the_job_again_when_it_is_preempted(name):
    lines = find_file(name).path.read_text().splitlines()
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.split()[1] for line in lines[:first_command] if line.startswith("#SBATCH ")]
    assert len(options) == sum("#SBATCH " in line for line in lines)  # Slurm ignores options below the first command
    for option in ("--nodes=2", "--ntasks-per-node=1", "--exclusive", "--gpus-per-node=8", "--requeue", "--no-kill"):
        assert option in options


@pytest.mark.parametrize("name", BOTH)
def test_the_script_passes_the_shell_check(name):
    assert not (errors := shellcheck(Path(find_file(name).path).read_text())), errors
