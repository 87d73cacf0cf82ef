"""Tables of results in the documentation are those of the result files, and so are the commands above them."""

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest
from scored_run import scored_run

from benchmarks import doc_tables, front_page, frontier, one_image_curves
from benchmarks.systems import document, markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SYSTEMS = (ROOT / "docs" / "systems.md").read_text()
README = (ROOT / "README.md").read_text()
QUOTED = re.findall(r"<!-- results (\w+) -->\n(.*?)<!-- end of results -->", SYSTEMS, re.S)


def test_every_section_quotes_a_result():
    sections = re.split(r"^## ", SYSTEMS, flags=re.M)[1:]
    assert all("<!-- results " in section for section in sections)


@pytest.mark.parametrize(("name", "table"), QUOTED, ids=[name for name, _ in QUOTED])
def test_tables_are_those_of_the_result_file(name, table):
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert table.strip() == markdown(result), f"python benchmarks/systems.py --tables {name} prints the new one"
    commands = re.findall(r"```\n(.*?)```", SYSTEMS, re.S)
    assert shlex.split(result["command"]) in [shlex.split(each.replace("\\\n", " ")) for each in commands]
    assert result["commit"]
    for row in result["configs"]:
        scores = [score for score in row["fold_scores"] if score is not None]
        assert len(row["fold_scores"]) == result["folds"] and len(scores) == row["folds"]
        assert not scores or row["score"] == pytest.approx(sum(scores) / len(scores))
    (winner,) = [row for row in result["configs"] if row["config"] == result["winner"]]
    complete = sum(row["folds"] == result["folds"] for row in result["configs"])
    interval = result["corrected"] if complete > 1 else winner  # one alone was not selected by its score
    assert interval["low"] < winner["score"] < interval["high"]
    for archive, count in result.get("masks", {}).items():
        assert archive in SYSTEMS
        with zipfile.ZipFile(RESULTS / archive) as masks:
            assert len(masks.namelist()) == count


def test_results_on_the_front_page_name_their_command_and_commit():
    table = README.split("<!-- systems -->")[1].split("<!-- end of systems -->")[0]
    files = re.findall(r"\(benchmarks/results/(\w+\.json)\)", table)
    assert len(files) == sum(system.result is not None for system in front_page.SYSTEMS)
    for name in files:
        result = json.loads((RESULTS / name).read_text())
        assert result["command"] and result["commit"]


def test_every_benchmark_that_records_its_machine_records_its_commit():
    sources = {path.name: path.read_text() for path in (ROOT / "benchmarks").glob("*.py")}
    recording = [name for name, text in sources.items() if '"machine": ' in text]
    assert len(recording) > 10
    assert all(re.search(r"commit\(|\"commit\"|replay_facts", sources[name]) for name in recording)


def test_a_result_file_has_the_scores_of_each_fold(tmp_path):
    run, _ = scored_run(
        tmp_path, {"loss": {"values": ["iou", "dice"]}}, [([0.8, 0.7, None], 1.0), ([0.6, None, None], 1)]
    )
    result = document(run.folder, "a command")
    assert [row["fold_scores"] for row in result["configs"]] == [[0.8, 0.7, None], [0.6, None, None]]
    assert result["corrected"] is None and result["winner"] is None


def test_a_result_file_has_the_scores_on_the_validation_split(scribble_run):
    result = document(scribble_run.folder, "a command")
    (row,) = [each for each in result["configs"] if each["config"] == result["winner"]]
    found = [score(scribble_run.folder, row["config"], fold)["dice"] for fold in range(result["folds"])]
    assert result["validation"] == "val" and row["validation"]["dice"] == pytest.approx(sum(found) / len(found))
    header, _, *lines = markdown(result).splitlines()
    assert header.endswith(" on val |") and any(
        line.endswith(f" {row['validation'][result['metric']]:.3f} |") for line in lines
    )


def score(folder, config, fold):
    scores = json.loads((folder / f"configs/{config}/fold_{fold}/scores.json").read_text())
    return scores["best"]["validation"]


def test_curves_are_those_of_the_result_file_and_drawn():
    ((name, quoted),) = re.findall(r"<!-- curves (\w+) -->\n(.*?)<!-- end of curves -->", SYSTEMS, re.S)
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert quoted.strip() == one_image_curves.markdown(result), (
        "python benchmarks/one_image_curves.py prints the new one"
    )
    assert f"(pictures/{one_image_curves.PICTURE}.png)" in SYSTEMS
    assert (ROOT / "docs" / "pictures" / f"{one_image_curves.PICTURE}.png").exists()
    paper = {
        "kernel": [1, 3, 5, 7],
        "width": [4, 8, 16, 32, 64],
        "depth": [1, 2, 3, 4, 5, 6],
        "beta": [0, 1e6, 1e7, 1e8],
    }
    for varied, lines in one_image_curves.curves(result).items():
        assert {"colour", "colour+xy"} <= set(lines) or (varied == "beta" and "colour+xy, xy penalised" in lines)
        assert all([row[varied] for row in rows] == paper[varied] for rows in lines.values())


@pytest.mark.parametrize("block", front_page.BLOCKS)
def test_the_front_page_quotes_the_result_files(block):
    (quoted,) = re.findall(rf"<!-- {block} -->\n(.*?)\n<!-- end of {block} -->", README, re.S)
    assert quoted == front_page.BLOCKS[block](), "python benchmarks/front_page.py writes the new one"


@pytest.mark.parametrize(
    ("page", "block"), [(page, block) for page, blocks in doc_tables.BLOCKS.items() for block in blocks]
)
def test_tables_of_the_documentation_quote_the_result_files(page, block):
    made = doc_tables.BLOCKS[page][block]()
    assert doc_tables.quoted(page, block) == made, "python benchmarks/doc_tables.py writes the new one"


def test_the_pictures_of_cost_and_regret_show_the_result_files():
    deltas = (ROOT / "docs" / "pictures" / "deltas.svg").read_text()
    assert deltas == frontier.deltas(doc_tables.results("deltas")), "python benchmarks/frontier.py draws the new one"
    drawn = (ROOT / "docs" / "pictures" / "frontier.svg").read_text()
    assert drawn == frontier.picture(frontier.points()), "python benchmarks/frontier.py draws the new one"
    assert all(label in drawn for name, label in doc_tables.PEERS.items() if name != "syne-dyhpo")


@pytest.mark.parametrize(
    "name", ["foreign_curves", "small_curves", "peers", "peers_dyhpo", "coverage", "replay", "deltas"]
)
def test_results_of_replays_name_their_command_and_no_folder_of_a_machine(name):
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert result["command"].startswith("python benchmarks/") and " /" not in result["command"]


@pytest.mark.parametrize("system", front_page.SYSTEMS, ids=lambda system: system.space)
def test_a_system_on_the_front_page_has_a_result_file_or_no_figure(system):
    (row,) = [line.split(" | ") for line in README.splitlines() if system.page in line and line.startswith("| [")]
    command, ours, published = row[1].strip("`"), row[3], row[4]
    assert re.match(r"(\w+ )?0\.\d+", published), "there is a published figure"
    measured = {json.loads(path.read_text()).get("space"): path.stem for path in RESULTS.glob("*.json")}
    assert system.result or system.space not in measured, f"name {measured[system.space]} in SYSTEMS"
    if system.result is None:
        assert ours == front_page.NOT_YET
        return
    result = json.loads((RESULTS / f"{system.result}.json").read_text())
    assert result["command"].startswith(command) and result["commit"]
    (score,) = [each["score"] for each in result["configs"] if each["config"] == result["winner"]]
    corrected = result.get("corrected")
    assert not corrected or f"; {corrected['score']:.3f} corrected for the selection among " in ours
    assert f" {score:.3f}**" in ours and f"benchmarks/results/{system.result}.json" in ours


def test_the_costs_of_networks_are_those_of_the_result_file():
    result = json.loads((RESULTS / "networks_cpu2.json").read_text())
    rows = re.findall(
        r"^\| `([\w-]+)` \| ([\d.]+) \| ([\d,]+) \| ([\d.]+) ", (ROOT / "docs/networks.md").read_text(), re.M
    )
    assert [tuple(row) for row in rows] == [
        (row["network"], f"{row['million_parameters']:.1f}", f"{row['step_ms']:,.0f}", f"{row['step_ratio']:.2f}")
        for row in result["networks"]
    ]
    assert result["commit"] and f"`{result['command']}`" in (ROOT / "docs/networks.md").read_text()


def test_the_times_of_decisions_are_those_of_the_result_file():
    parts = json.loads((RESULTS / "overhead_cpu2.json").read_text())["parts"]
    times = parts["decisions"]["policies"]
    quoted = [
        f"{times[name][f'cpu_{which}_ms']:.1f}" for name in ("foldrace", "asha", "halving") for which in ("mean", "p99")
    ]
    paragraph = (
        (ROOT / "docs/foldrace_measured.md").read_text().split("**Decisions and resuming.**")[1].split("\n\n")[0]
    )
    assert re.findall(r"\d\.\d", paragraph) == [*quoted, f"{parts['resume']['replayed_seconds']:.1f}"]
