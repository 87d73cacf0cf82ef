"""Two searches at once on one machine: each has its own dashboard, metrics and logs, and none can be reached from other
machines or writes its secrets anywhere.
"""

import contextlib
import json
import re
import stat
import urllib.error
from pathlib import Path

import pytest
from launched_search import SECRETS, fetch, wait_for

from cluster.deployment.grafana import BOARD
from search.runs.journal import read_journal

LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def node_of(search, token):
    url = search.address("dashboard")
    summary = json.loads(fetch(f"{url}/nodes?view=summary", token))["data"]["summary"][0]
    return json.loads(fetch(f"{url}/nodes/{summary['raylet']['nodeId']}", token))["data"]["detail"]


def titles(search, token):
    """The title of each worker process by its id, as the dashboard shows them."""
    workers = node_of(search, token).get("workers", [])
    return {row["pid"]: row["cmdline"][0] for row in workers if " config " in row["cmdline"][0]}


def samples(search):
    """Value by (name, labels) of all metrics of searches at the endpoint."""
    found = {}
    for name, labels, value in re.findall(
        r"^ray_scribble_(\w+)\{(.*)\} (\S+)$", fetch(search.address("metrics for Prometheus")), re.M
    ):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = [values[label] for label in ("config", "fold", "state", "outcome") if label in values]
        assert values["run"] == search.run.name
        found[name, *key] = float(value)
    return found


def test_two_launches_at_once_have_a_dashboard_each(searches, token_file):
    token = token_file.read_text().strip()
    addresses = {search.address("dashboard") for search in searches}
    assert len(addresses) == 2 and all(address.startswith("http://127.0.0.1:") for address in addresses)
    agents = {node_of(search, token)["raylet"]["dashboardAgentListenPort"] for search in searches}
    assert len(agents) == 2 and not agents & {-1, 0, 52365}


def test_the_dashboard_refuses_requests_without_the_token(searches, token_file):
    for token in (None, "0" * 64):
        for path in ("/nodes?view=summary", "/logical/actors", "/api/v0/tasks", "/api/jobs/"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                fetch(searches[0].address("dashboard") + path, token)
            assert refused.value.code in (401, 403)
            refused.value.close()


def test_the_dashboard_shows_the_current_job_of_each_worker(searches, token_file):
    search, token = searches[0], token_file.read_text().strip()
    held = search.config("none")
    expected = {f"ray::one config {held} fold {fold}" for fold in (0, 1)}
    wait_for(lambda: set(titles(search, token).values()) == expected, search)
    shown = titles(search, token)
    for pid, title in shown.items():
        assert f"process {pid} on" in search.log("none", int(title[-1]))
    earlier = [search.log(fault, fold) for fault in ("kill", "nan") for fold in (0, 1) if (fault, fold) != ("nan", 1)]
    assert any(f"process {pid} on" in log for pid in shown for log in earlier), "no worker was reused"
    actors = json.loads(fetch(search.address("dashboard") + "/logical/actors", token))["data"]["actors"].values()
    alive = {actor["pid"]: actor["actorClass"] for actor in actors if actor["state"] == "ALIVE"}
    assert alive == dict.fromkeys(shown, "FoldTrial of one")


def test_the_metrics_match_the_journal(searches):
    search = searches[0]
    killed, nan, held = (search.config(fault) for fault in ("kill", "nan", "none"))
    wait_for(lambda: samples(search).get(("state", held, "1")) == 1, search)
    metrics = samples(search)
    reports = [line.fields for line in read_journal(search.run / "journal.jsonl") if line.kind == "report"]
    states = {key[1:]: value for key, value in metrics.items() if key[0] == "state"}
    assert states == {(killed, "0"): 3, (killed, "1"): 3, (nan, "0"): 4, (held, "0"): 1, (held, "1"): 1}
    final = {str(report["fold"]): report for report in reports if report["config"] == killed and report["step"] == 2}
    for fold, report in final.items():
        assert metrics["score", killed, fold] == pytest.approx(report["score"])
        assert metrics["step", killed, fold] == 2 and metrics["faults_total", killed, fold] == 1
        assert metrics["gpu_seconds", killed, fold] == pytest.approx(report["seconds"], abs=1e-5)
    assert metrics["faults_total", nan, "0"] == 1 and metrics["step", nan, "0"] == 1
    assert metrics["run_configs",] == 3 and metrics["run_jobs_out",] == 2
    assert metrics["run_best_mean",] == pytest.approx(sum(report["score"] for report in final.values()) / 2)
    assert metrics["run_gpu_seconds",] == pytest.approx(
        sum(value for key, value in metrics.items() if key[0] == "gpu_seconds"), abs=1e-5
    )
    spent = {key[1]: value for key, value in metrics.items() if key[0] == "run_gpu_seconds_by"}
    assert spent.keys() == {"running", "paused", "done", "failed"}
    assert sum(spent.values()) == pytest.approx(metrics["run_gpu_seconds",], abs=1e-5)
    counts = {key[1]: value for key, value in metrics.items() if key[0] == "run_folds"}
    assert counts == {"running": 2, "paused": 0, "done": 2, "failed": 1}


def series(search):
    """The labels that each metric at the endpoint has."""
    found = {}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} \S+$", fetch(search.address("metrics for Prometheus")), re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def queried():
    """(metric, label) of all queries of the dashboard: filters, groupings and variables."""
    board = json.loads(BOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    for query in queries:
        names = re.findall(r"\bray_\w+", query)
        assert len(names) == 1, query
        picked = re.findall(r"(\w+)=~?\"", query)
        grouped = re.findall(r"by \(([^)]*)\)", query) + re.findall(r"label_values\(.*, (\w+)\)", query)
        yield from ((names[0], label) for label in picked + ", ".join(grouped).split(", ") if label)


def test_the_endpoint_has_all_metrics_and_labels_of_the_dashboard(searches):
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    search = searches[0]
    wait_for(lambda: "ray_scribble_run_best_mean" in series(search) and "ray_resources" in series(search), search)
    exported = series(search)
    # Only a machine with a GPU exports this one; its labels are those that Ray declares, and the common one.
    exported.setdefault(
        "ray_node_gpus_utilization", {*METRICS_GAUGES["node_gpus_utilization"].view.columns, "SessionName"}
    )
    wanted = set(queried())
    assert {name for name, _ in wanted} >= {"ray_scribble_score", "ray_scribble_faults_total", "ray_resources"}
    for name, label in wanted:
        assert label in exported.get(name, ()), f"{name} has no label {label}, only {sorted(exported.get(name, ()))}"


def test_ray_lists_the_dashboard_for_grafana_and_keeps_it(searches):
    for search in searches:
        kept = search.run.parents[1] / "cache/grafana"
        wait_for(lambda kept=kept: (kept / "default_grafana_dashboard.json").exists(), search)
        assert (kept / BOARD.name).read_text() == BOARD.read_text()
    providers = [
        path.read_text() for path in Path("/tmp/ray").glob("session_2*/metrics/grafana/provisioning/dashboards/*.yml")
    ]
    assert any(str(kept) in text for text in providers)


def test_every_fold_has_a_log_of_its_events(searches):
    search = searches[0]
    story = search.log("kill", 0)
    events = [
        "assigned: train until step 2",
        "process",
        "step 1: score",
        "retried after: The actor is dead because its worker process has died",
        "process",
        "from step 1 of 2",
        "step 2: score",
        "complete: fold 0 has all 2 steps",
    ]
    position = 0
    for event in events:
        position = story.index(event, position) + 1
    assert "failed: the script says nan at step 2" in search.log("nan", 0)
    assert "assigned: train until step 2" in search.log("none", 1) and "step 1" not in search.log("none", 1)


def test_ray_prints_nothing(searches):
    for search in searches:
        assert search.stdout.read_text() == ""
        assert not re.search(r"raylet|WARNING|usage|INFO", search.stderr.read_text())


def family(leader):
    """A process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, added = set(), {leader}
    while added:
        found |= added
        added = {pid for pid, parent in parents.items() if parent in added} - found
    return found


def listening(processes):
    """(address as the kernel writes it, port) of every socket on which one of these processes listens."""
    sockets = set()
    for pid in processes:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(handle.readlink()))
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = row.split()
            if f"socket:[{words[9]}]" in sockets and (words[3] == LISTENING or table.startswith("udp")):
                address, port = words[1].split(":")
                yield address, int(port, 16)


def commands(processes):
    for pid in processes:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes()


def test_no_process_of_a_search_can_be_reached_from_another_machine(searches):
    for search in searches:
        endpoints = set(listening(family(search.process.pid)))
        # The GCS, the raylet, the agents, the dashboard, and the workers have several each.
        assert len(endpoints) >= 8 and {address for address, _ in endpoints} <= LOOPBACK
        metrics = search.address("metrics for Prometheus")
        assert metrics.startswith("http://127.0.0.1:")
        assert int(re.search(r":(\d+)/", metrics)[1]) in {port for _, port in endpoints}


def test_a_search_starts_no_autoscaler_and_no_log_monitor(searches):
    programs = b" ".join(commands(family(searches[0].process.pid)))
    assert b"dashboard.py" in programs and b"gcs_server" in programs
    assert b"monitor.py" not in programs


def test_only_the_owner_can_read_the_token_file(searches, token_file):
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    for search in searches:
        assert f"cat {token_file}" in search.stderr.read_text()


def test_no_secret_is_in_a_run_folder_a_log_or_the_list_of_processes(searches, token_file):
    secrets = [token_file.read_bytes().strip(), *(value.encode() for value in SECRETS.values())]
    assert all(secrets)
    for search in searches:
        processes = family(search.process.pid)
        command_lines = b"\0".join(commands(processes))
        session = re.search(rb"/[^\0=]*/session_[\d_-]+", command_lines)[0].decode()
        files = [search.stderr, search.stdout, *search.run.rglob("*"), *Path(session).rglob("*")]
        names = {path.name for path in files}
        assert {"journal.jsonl", "log.txt", "gcs_server.out", "raylet.out"} <= names
        for path in files:
            if path.is_file():
                content = path.read_bytes()
                assert not any(secret in content for secret in secrets), path
    all_commands = list(commands(path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline")))
    assert not any(secret in line for line in all_commands for secret in secrets)


@pytest.mark.parametrize("name", SECRETS)
def test_the_workers_do_have_the_credentials(searches, name):
    """Otherwise the test above would pass because there is nothing to find."""
    workers = [pid for pid in family(searches[0].process.pid) if b" config " in b"".join(commands([pid]))]
    assert len(workers) == 2
    for pid in workers:
        assert f"{name}={SECRETS[name]}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
