"""Completion of the scribble-search command and its five programs in a shell."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from search import console

ROOT = Path(__file__).parents[2]


def completed(monkeypatch, capsys, *words):
    monkeypatch.setenv("_SCRIBBLE_SEARCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setattr(sys, "argv", ["scribble-search"])
    with pytest.raises(SystemExit) as ended:
        console.main()
    assert ended.value.code == 0
    return capsys.readouterr().out.split()


def test_programs_commands_and_options_are_completed(monkeypatch, capsys):
    assert completed(monkeypatch, capsys, "scribble-search", "tr") == ["trainable"]
    assert completed(monkeypatch, capsys, "scribble-search", "search", "doc") == ["doctor-report"]
    assert completed(monkeypatch, capsys, "scribble-search", "spaces", "check", "--form") == ["--format"]


@pytest.mark.parametrize("program", console.PROGRAMS)
def test_every_program_completes_its_commands(program, monkeypatch, capsys):
    assert len(completed(monkeypatch, capsys, "scribble-search", program, "")) >= 3


def test_a_program_installs_the_completion_of_all(tmp_path):
    script = tmp_path / "bin/scribble-search"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom search.console import main\nmain()\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    command = f"{sys.executable} -m spaces --install-completion; exit $?"  # not the last command, so that bash stays
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F" in (tmp_path / ".bash_completions/scribble-search.sh").read_text()
