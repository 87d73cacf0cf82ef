"""One posterior: reasons, status, the end of a launch, best and the report quote the same set and the same chances."""

import csv
import io
import itertools
import json
import re
from html import unescape

import pytest
from typer.testing import CliRunner
from untrained_runs import GRID, LOWER_IS_BETTER, write_run

from analysis.__main__ import app as analysis
from search.__main__ import app as search
from search.commands.run_end import document as on_end
from search.engine.listeners import Outcome
from search.engine.monitor import run_readings
from search.policies.registry import policy_of
from search.replay.curve_tables import read_table
from search.runs.journal import Line
from search.runs.study import EARLIER_PEERS, EARLIER_RULES, replay_lines
from search.terminal.answer_text import percent, set_sentences
from search.terminal.plain_view import print_outcome

FEW = ("[1, 2, 3, 3.8]", "[1, 3]")  # 36 configs
RACE = "{name: foldrace, rungs: [0.5], keep: 1.0}"  # so that pauses are for small chances, not for ranks
STRICT = "{name: foldrace, rungs: [0.5], keep: 0.15}"  # so that some configs are in the set by a forecast
REASON = re.compile(r"chance to win on these folds (\d+\.\d %)")


def ask(app, *words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


def told(app, *words):
    return json.loads(ask(app, *words, "--format", "json").stdout)


def policy_of_run(run):
    policy = policy_of(run.space())
    replay_lines(policy, run.lines())
    return policy


def ended(run, capsys):
    """What a launch prints at its end: the rows of the set, and its sentences."""
    policy = policy_of_run(run)
    capsys.readouterr()
    print_outcome(run, policy, Outcome("every job is done"), [])
    printed = capsys.readouterr()
    rows = [line for line in printed.out.splitlines() if re.match(r"[0-9a-f]{12} ", line)]
    return {row.split()[0]: " ".join(row.split()) for row in rows}, " ".join(printed.err.split())


def page_of(run):
    text = (run.folder / "analysis/report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="run">(.*?)</script>', text)[1])
    return text, {config["id"]: config for config in data["configs"]}


def figure_of(page, name):
    figures = json.loads(re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)[1])
    return figures[name]


@pytest.mark.parametrize(("text", "scheduler"), [(GRID, STRICT), (LOWER_IS_BETTER, "halving")])
def test_every_place_quotes_the_same_set_and_the_same_chances(text, scheduler, tmp_path, capsys):
    run = write_run(tmp_path / "told", text.replace(*FEW), scheduler=scheduler, folds=4)
    status, best = told(search, "status", run.folder), told(analysis, "best", run.folder)
    ask(analysis, "report", run.folder)
    rows, end = ended(run, capsys)
    page, drawn = page_of(run)
    chosen = json.loads((run.folder / "analysis/selection.json").read_text())

    peers = status["peers"]
    assert status["leader"]["id"] == peers[0] == best["winner"]["id"] and len(peers) > 1
    assert list(rows) == peers == [each["id"] for each in best["set"]] == [each["id"] for each in chosen["set"]]
    assert {name for name, each in drawn.items() if each["place"] in ("winner", "set")} == set(peers)

    listed = {row["config"]: row for row in csv.DictReader(io.StringIO(summary_csv(run)))}
    assert list(policy_of_run(run).answer().peers) == peers
    guessed = {each["config"] for each in status["standings"] if not each["folds"]} & set(peers)
    assert bool(guessed) == (scheduler == STRICT)
    traces = {trace["name"]: trace["customdata"] for trace in figure_of(page, "configs")["data"]}
    assert set(traces.get("the same by a forecast", ())) == guessed
    in_set = [traces.get("cannot be distinguished from the winner", ()), guessed, traces["the winner"]]
    assert set(itertools.chain(*in_set)) == set(peers)
    for each in status["standings"]:
        name = each["config"]
        for key in ("expected", "low", "high", "chance_these_folds", "chance_any_folds"):
            assert drawn[name][key] == pytest.approx(each[key], abs=1e-6)
            assert listed[name][key] == ("" if each[key] is None else str(each[key]))
        if name in peers and name != peers[0]:
            assert percent(each["chance_any_folds"]) in rows[name]
            assert each["chance_any_folds"] >= (0.05 if each["folds"] else 0.1)
        elif each["chance_any_folds"] is not None:
            assert each["chance_any_folds"] < (0.05 if each["folds"] else 0.1)
    sentences = list(set_sentences(policy_of_run(run).assess()))
    assert sentences[0] == f"{len(peers) - 1} other config{'s' * (len(peers) > 2)} cannot be distinguished from it."
    answer, summary = ask(analysis, "best", run.folder).stdout, ask(search, "status", run.folder).stdout
    for sentence in sentences:
        assert sentence in end and sentence in unescape(page) and sentence in answer
        assert sentence.removesuffix(".") in " ".join(summary.split())


def summary_csv(run):
    return (run.folder / "analysis/summary.csv").read_text()


def test_a_reason_for_a_pause_quotes_the_chance_that_the_other_places_quote(tmp_path):
    run = write_run(tmp_path / "raced", GRID.replace(*FEW), scheduler=RACE, folds=4)
    chances = {each["config"]: each["chance_these_folds"] for each in told(search, "status", run.folder)["standings"]}
    policy = policy_of_run(run)
    reasons = {config: policy.why(config) or "" for config in chances}
    quoted = {config: found[1] for config, reason in reasons.items() if (found := REASON.search(reason))}
    assert len(quoted) > 5 and all(reasons[config].startswith("paused: expected ") for config in quoted)
    assert quoted == {config: percent(chances[config]) for config in quoted}


def test_lower_scores_win_if_the_space_says_so_and_are_shown_as_they_are(tmp_path):
    run = write_run(tmp_path / "lower", LOWER_IS_BETTER.replace(*FEW), scheduler=RACE, folds=4)
    best = told(analysis, "best", run.folder)
    reported = [line.fields for line in run.lines() if line.kind == "report"]
    full = {}
    for each in reported:
        if each["step"] == 12000:
            full.setdefault(each["config"], []).append(each["score"])
    means = {config: sum(scores) / 4 for config, scores in full.items() if len(scores) == 4}
    assert len(means) > 1 and max(means.values()) < 0, "the scores of this run are negative"
    assert best["winner"]["id"] == min(means, key=lambda config: means[config])
    assert best["winner"]["mean"] == pytest.approx(min(means.values())) and best["goal"] == "minimize"
    ranked = [each["expected"] for each in told(search, "status", run.folder)["standings"] if each["folds"]]
    assert ranked == sorted(ranked)
    seen = ask(search, "watch", run.folder, "--once").stdout
    assert f"-{abs(best['winner']['mean']):.4f}" in seen
    recorded = read_table(run.folder).means()
    assert max(recorded, key=lambda config: recorded[config]) == best["winner"]["id"], "in replays, too"
    (reference,) = best["references"]
    assert reference["config"] == best["winner"]["id"]
    assert reference["difference"] == pytest.approx(min(means.values()) + 0.8)
    assert reference["difference"] < 0, "ours is lower, and so better"
    ask(analysis, "report", run.folder)
    assert "loss (lower is better)" in page_of(run)[0]
    policy = policy_of_run(run)
    for mean in (
        told(search, "status", run.folder)["leader"]["mean"],
        on_end(run.space(), run, policy, Outcome("every job is done"))["winner"]["mean"],
        {name: value for name, value, _ in run_readings(policy.score_table)}["run_best_mean"],
    ):
        assert mean == pytest.approx(best["winner"]["mean"])


def test_a_journal_of_earlier_rules_is_named_as_such_everywhere(tmp_path):
    run = write_run(tmp_path / "earlier", GRID.replace(*FEW), scheduler=RACE, folds=2)  # its begin names no rules
    assert told(analysis, "best", run.folder)["earlier_rules"] and told(search, "ledger", run.folder)["earlier_rules"]
    ask(analysis, "report", run.folder)
    for text in (
        ask(analysis, "best", run.folder).stderr,
        ask(search, "ledger", run.folder).output,
        unescape(page_of(run)[0]),
    ):
        assert EARLIER_RULES in " ".join(text.split())
    assert EARLIER_RULES in told(analysis, "best", run.folder)["notes"]


def test_earlier_rules_decided_nothing_of_a_grid_but_who_was_called_a_peer(tmp_path):
    run = write_run(tmp_path / "earlier", GRID.replace(*FEW), scheduler="grid", folds=2)
    ledger = ask(search, "ledger", run.folder).output
    assert EARLIER_PEERS in told(analysis, "best", run.folder)["notes"] and "earlier version" not in ledger
    begin = next(iter(run.lines())).fields
    for rules, note in ((1, EARLIER_PEERS), (2, ""), (3, "")):
        policy = policy_of(run.space())
        replay_lines(policy, [Line(1, "begin", {**begin, "rules": rules}, 0.0)])
        assert policy.earlier_rules == note
