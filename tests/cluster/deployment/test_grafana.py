"""The Grafana dashboard is complete, and is copied to the folder where Grafana looks for it."""

import json
import os
import re

import pytest
import yaml

from cluster.deployment.grafana import BOARD, FOLDER_VARIABLE, dashboard_provided

DOCUMENT = json.loads(BOARD.read_text())
PANELS = DOCUMENT["panels"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_panels_have_unique_ids_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken = set()
    for panel in PANELS:
        position = panel["gridPos"]
        cells = {(position["x"] + i, position["y"] + j) for i in range(position["w"]) for j in range(position["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_a_description_a_unit_and_a_data_source(panel):
    assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE and panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        variables = set(re.findall(r"\$(\w+)", target["expr"]))
        assert variables & {"run", "session"} and variables <= {each["name"] for each in DOCUMENT["templating"]["list"]}
        grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
        known = {label.strip() for labels in grouped for label in labels.split(",")}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == known


def test_the_variables_are_the_data_source_the_run_and_the_session():
    variables = DOCUMENT["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "run", "session"]
    assert variables[0]["type"] == "datasource" and variables[0]["query"] == "prometheus"
    assert all(each["datasource"] == SOURCE for each in variables[1:])


def test_prometheus_reads_the_list_of_nodes_that_ray_writes():
    settings = yaml.safe_load((BOARD.parent / "prometheus.yaml").read_text())
    assert [each["file_sd_configs"][0]["files"] for each in settings["scrape_configs"]] == [
        ["/tmp/ray/prom_metrics_service_discovery.json"]
    ]


def test_an_older_dashboard_is_replaced_and_a_custom_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache/grafana" / BOARD.name
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with dashboard_provided():
        assert kept.read_text() == BOARD.read_text() and os.environ[FOLDER_VARIABLE] == str(kept.parent)
    assert FOLDER_VARIABLE not in os.environ
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "named"))
    with dashboard_provided():
        assert (tmp_path / "named" / BOARD.name).read_text() == BOARD.read_text()
    assert os.environ[FOLDER_VARIABLE] == str(tmp_path / "named")


def test_an_unusable_folder_is_reported_and_not_fatal(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    with dashboard_provided():
        pass
    assert "cannot write the Grafana dashboard" in capsys.readouterr().err
