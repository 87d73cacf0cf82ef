"""Two searches at once on one machine: the dashboard and the metrics of each tell what it trains, and to whom."""

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from search.journal import read_journal

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
# One has a config whose worker is killed once in each fold, one that fails, and one whose folds train for as long as
# anybody looks; two has the last one alone.
SPACES = {
    "one": """
name: one
folds: 2
trainable: scripted
parameters:
  fault: {values: [kill, nan, none]}
  step_seconds: {values: [0.01, 600]}
  fault_step: 2
  quality: 0.8
  steps: 2
  evaluations: 2
forbid:
  - {fault: [kill, nan], step_seconds: 600}
  - {fault: none, step_seconds: 0.01}
resources: {gpu: 0, cpu: 1}
""",
    "two": """
name: two
folds: 2
trainable: scripted
parameters:
  fault: {values: [none]}
  step_seconds: 600
  steps: 2
  evaluations: 2
resources: {gpu: 0, cpu: 1}
""",
}


class Search:
    """A launched search, and what it says of itself."""

    def __init__(self, folder, name, environment):
        self.talk, self.out, self.run = folder / f"{name}.err", folder / f"{name}.out", folder / "runs" / name
        (folder / f"{name}.yaml").write_text(SPACES[name])
        command = [sys.executable, "-m", "search", "launch", f"{name}.yaml"]
        with self.talk.open("w") as talk, self.out.open("w") as out:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=talk)

    def address(self, of):
        found = re.search(rf"^{of}: (http://\S+)", self.talk.read_text(), re.M)
        return found and found[1]

    def end(self):
        """Ctrl-C twice: nobody waits for a step of ten minutes."""
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def config(self, fault):
        for path in self.run.glob("configs/*/config.json"):
            document = json.loads(path.read_text())
            if document["values"]["fault"] == fault:
                return document["id"]
        raise AssertionError(fault)

    def log(self, fault, fold):
        return (self.run / "configs" / self.config(fault) / f"fold_{fold}" / "log.txt").read_text()


@pytest.fixture(scope="module")
def token_file(tmp_path_factory):
    return tmp_path_factory.mktemp("token") / "token"


@pytest.fixture(scope="module")
def searches(tmp_path_factory, token_file):
    folder = tmp_path_factory.mktemp("searches")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "SCRIBBLE_SEARCH_DASHBOARD": "1",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_metrics_report_interval_ms": "5000",
    }
    started = []
    try:
        for name in SPACES:
            started.append(Search(folder, name, environment))
        for search in started:
            wait_for(lambda search=search: out_now(search.run) == {("none", 0), ("none", 1)}, search)
        yield started
    finally:
        for search in started:
            search.end()


def wait_for(true, search):
    """Until something is so; a search that died or takes for ever is told with what it said."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert search.process.poll() is None and time.monotonic() < end, search.talk.read_text()
        time.sleep(0.2)


def out_now(run):
    """(fault, fold) of the jobs that the journal knows to be out."""
    out, faults = set(), {}
    for line in read_journal(run / "journal.jsonl"):
        fields = line.fields
        if line.kind == "config":
            faults[fields["config"]] = fields["parameters"]["fault"]
        elif line.kind == "job":
            out.add((faults[fields["config"]], fields["fold"]))
        elif "stop" in fields or line.kind in ("stop", "lost"):
            out.discard((faults[fields["config"]], fields["fold"]))
    return out


def ask(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read().decode()


def node_of(search, token):
    url = search.address("dashboard")
    summary = json.loads(ask(f"{url}/nodes?view=summary", token))["data"]["summary"][0]
    return json.loads(ask(f"{url}/nodes/{summary['raylet']['nodeId']}", token))["data"]["detail"]


def titles(search, token):
    """The title of each worker process by its id, as the dashboard shows them."""
    workers = node_of(search, token).get("workers", [])
    return {row["pid"]: row["cmdline"][0] for row in workers if " config " in row["cmdline"][0]}


def samples(search):
    """Value by (name, labels) of all that the metrics endpoint says of searches."""
    found = {}
    for name, labels, value in re.findall(
        r"^ray_scribble_(\w+)\{(.*)\} (\S+)$", ask(search.address("metrics for Prometheus")), re.M
    ):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = [told[label] for label in ("config", "fold", "state") if label in told]
        assert told["run"] == search.run.name
        found[name, *key] = float(value)
    return found


def test_two_launches_at_once_have_a_dashboard_each(searches, token_file):
    token = token_file.read_text().strip()
    addresses = {search.address("dashboard") for search in searches}
    assert len(addresses) == 2 and all(address.startswith("http://127.0.0.1:") for address in addresses)
    agents = {node_of(search, token)["raylet"]["dashboardAgentListenPort"] for search in searches}
    assert len(agents) == 2 and not agents & {-1, 0, 52365}


def test_nobody_gets_in_without_the_token(searches, token_file):
    for token in (None, "0" * 64):
        for path in ("/nodes?view=summary", "/logical/actors", "/api/v0/tasks", "/api/jobs/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(searches[0].address("dashboard") + path, token)
            assert refused.value.code in (401, 403)
            refused.value.close()


def test_the_token_is_in_its_file_and_nowhere_else(searches, token_file):
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    token = token_file.read_bytes().strip()
    for search in searches:
        assert f"cat {token_file}" in search.talk.read_text()
        for path in (search.talk, search.out, *search.run.rglob("*")):
            assert path.is_dir() or token not in path.read_bytes(), path
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert token not in process.read_bytes(), process


def test_the_dashboard_shows_the_job_of_each_worker_also_of_one_that_had_others_before(searches, token_file):
    search, token = searches[0], token_file.read_text().strip()
    held = search.config("none")
    expected = {f"ray::one config {held} fold {fold}" for fold in (0, 1)}
    wait_for(lambda: set(titles(search, token).values()) == expected, search)
    shown = titles(search, token)
    for pid, title in shown.items():
        assert f"process {pid} on" in search.log("none", int(title[-1]))
    earlier = [search.log(fault, fold) for fault in ("kill", "nan") for fold in (0, 1) if (fault, fold) != ("nan", 1)]
    assert any(f"process {pid} on" in log for pid in shown for log in earlier), "no worker was used again"
    actors = json.loads(ask(search.address("dashboard") + "/logical/actors", token))["data"]["actors"].values()
    alive = {actor["pid"]: actor["actorClass"] for actor in actors if actor["state"] == "ALIVE"}
    assert alive == dict.fromkeys(shown, "FoldTrial of one")


def test_prometheus_reads_the_numbers_of_the_journal(searches):
    search = searches[0]
    killed, nan, held = (search.config(fault) for fault in ("kill", "nan", "none"))
    wait_for(lambda: samples(search).get(("state", held, "1")) == 1, search)
    told = samples(search)
    reports = [line.fields for line in read_journal(search.run / "journal.jsonl") if line.kind == "report"]
    states = {key[1:]: value for key, value in told.items() if key[0] == "state"}
    assert states == {
        (killed, "0"): 3,
        (killed, "1"): 3,
        (nan, "0"): 4,
        (held, "0"): 1,
        (held, "1"): 1,
    }
    final = {str(report["fold"]): report for report in reports if report["config"] == killed and report["step"] == 2}
    for fold, report in final.items():
        assert told["score", killed, fold] == pytest.approx(report["score"])
        assert told["step", killed, fold] == 2 and told["faults_total", killed, fold] == 1
        assert told["gpu_seconds", killed, fold] == pytest.approx(report["seconds"], abs=1e-5)
    assert told["faults_total", nan, "0"] == 1 and told["step", nan, "0"] == 1
    assert told["run_configs",] == 3 and told["run_jobs_out",] == 2
    assert told["run_best_mean",] == pytest.approx(sum(report["score"] for report in final.values()) / 2)
    assert told["run_gpu_seconds",] == pytest.approx(
        sum(value for key, value in told.items() if key[0] == "gpu_seconds"), abs=1e-5
    )
    counts = {key[1]: value for key, value in told.items() if key[0] == "run_folds"}
    assert counts == {"running": 2, "paused": 0, "done": 2, "failed": 1}


def test_every_fold_has_a_readable_log_of_what_happened_to_it(searches):
    search = searches[0]
    story = search.log("kill", 0)
    told = [
        "handed out: to step 2",
        "process",
        "step 1: score",
        "is tried again: The actor is dead because its worker process has died",
        "process",
        "from step 1 of 2",
        "step 2: score",
        "complete: fold 0 has all 2 steps",
    ]
    place = 0
    for words in told:
        place = story.index(words, place) + 1
    assert "failed: the script says nan at step 2" in search.log("nan", 0)
    assert "handed out: to step 2" in search.log("none", 1) and "step 1" not in search.log("none", 1)


def test_ray_itself_says_nothing(searches):
    for search in searches:
        assert search.out.read_text() == ""
        assert not re.search(r"raylet|WARNING|usage|INFO", search.talk.read_text())
