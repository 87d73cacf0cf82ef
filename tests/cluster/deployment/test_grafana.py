"""The board for Grafana is whole by itself, and comes to lie where Ray tells Grafana to look."""

import json
import os
import re

import pytest
import yaml

from cluster.deployment.grafana import BOARD, PLACE, board_provided

DOCUMENT = json.loads(BOARD.read_text())
PANELS = DOCUMENT["panels"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_panels_have_an_id_and_a_place_of_their_own():
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows_and_where_it_asks(panel):
    assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == SOURCE and panel["targets"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        asked = set(re.findall(r"\$(\w+)", target["expr"]))
        assert asked & {"run", "session"} and asked <= {each["name"] for each in DOCUMENT["templating"]["list"]}
        grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
        known = {label.strip() for labels in grouped for label in labels.split(",")}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == known


def test_who_opens_it_chooses_the_source_first_and_then_the_run():
    variables = DOCUMENT["templating"]["list"]
    assert [each["name"] for each in variables] == ["datasource", "run", "session"]
    assert variables[0]["type"] == "datasource" and variables[0]["query"] == "prometheus"
    assert all(each["datasource"] == SOURCE for each in variables[1:])


def test_prometheus_is_told_of_rays_own_list_of_nodes():
    told = yaml.safe_load((BOARD.parent / "prometheus.yaml").read_text())
    assert [each["file_sd_configs"][0]["files"] for each in told["scrape_configs"]] == [
        ["/tmp/ray/prom_metrics_service_discovery.json"]
    ]


def test_an_older_board_is_replaced_and_a_place_that_was_named_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv(PLACE, raising=False)
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache/grafana" / BOARD.name
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with board_provided():
        assert kept.read_text() == BOARD.read_text() and os.environ[PLACE] == str(kept.parent)
    assert PLACE not in os.environ
    monkeypatch.setenv(PLACE, str(tmp_path / "named"))
    with board_provided():
        assert (tmp_path / "named" / BOARD.name).read_text() == BOARD.read_text()
    assert os.environ[PLACE] == str(tmp_path / "named")


def test_a_place_that_cannot_be_used_is_told_and_ends_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv(PLACE, str(tmp_path / "file"))
    with board_provided():
        pass
    assert "the board for Grafana cannot be put there" in capsys.readouterr().err
