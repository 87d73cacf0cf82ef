"""The file for a bug report: what is in it, and what must not be."""

import json
import zipfile

import pytest
from scored_run import scored_run
from typer.testing import CliRunner

from search.__main__ import app
from search.commands.doctor_report import scrubber


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Write the report of a run after something was done to its folder; returns the texts by name."""
    monkeypatch.setenv("DEMO_API_TOKEN", "value-of-a-token")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def write(prepare=lambda folder: None):
        run, (config, _) = scored_run(tmp_path, {"loss": {"values": ["iou", "dice"]}}, [([0.8] * 3, 1.0)] * 2)
        fold = run.folder / "configs" / config / "fold_0"
        fold.mkdir()
        (fold / "log.txt").write_text(f"token value-of-a-token, in {tmp_path}/home/data\n")
        (fold / "best.pt").write_bytes(b"weights")
        prepare(run.folder)
        out = tmp_path / "report.zip"
        done = CliRunner().invoke(app, ["doctor-report", str(run.folder), "--out", str(out)])
        assert done.exit_code == 0 and done.stdout.strip() == str(out), done.output
        with zipfile.ZipFile(out) as archive:
            return {name: archive.read(name).decode() for name in archive.namelist()}, config

    return write


def test_a_report_has_logs_and_facts_but_no_weights_and_no_secrets(report):
    texts, config = report()
    log = f"configs/{config}/fold_0/log.txt"
    assert {"report.json", "space.yaml", "env.json", "journal.jsonl", log} <= texts.keys()
    assert texts[log] == "token ***, in ~/data\n" and not any(name.endswith(".pt") for name in texts)
    facts = json.loads(texts["report.json"])
    assert facts["status"]["configs"] == 2 and facts["versions"]["python"] and facts["cores"] >= 1
    assert "value-of-a-token" not in "".join(texts.values())


def test_a_damaged_run_can_be_reported(report):
    texts, _ = report(lambda folder: (folder / "journal.jsonl").write_text("no journal\n"))
    assert "is damaged" in json.loads(texts["report.json"])["status"]["cannot be read"]
    assert texts["journal.jsonl"] == "no journal\n"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("s3://key:secret@host/bucket", "s3://key:***@host/bucket"),
        ("https://host/a?X-Signature=abc&b=c", "https://host/a?***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ('{"on_end": "https://hooks.host/T0/B1"}', '{"on_end": "***"}'),
        ('{"on_end": "$HOOK"}', '{"on_end": "$HOOK"}'),
        ("aws_secret_access_key = abc/def", "aws_secret_access_key = ***"),
        ('{"api_key": "abc", "loss": 1}', '{"api_key": "***", "loss": 1}'),
        ("step 8: loss 0.5", "step 8: loss 0.5"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, hidden):
    assert scrubber({})(text) == hidden
