"""Two searches at once on one machine: each has its own dashboard, metrics and logs."""

import json
import re
import urllib.error
from pathlib import Path

import pytest
from launched_search import fetch, wait_for

from cluster.deployment.grafana import BOARD
from search.runs.journal import read_journal


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
