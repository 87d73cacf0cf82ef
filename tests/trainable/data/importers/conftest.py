"""Running the command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainable import exit_codes
from trainable.__main__ import app

Import = Callable[..., tuple[int, str]]


@pytest.fixture
def run_import(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Import:
    """Exit code and messages of the command with these words."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["trainable", "import", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            exit_codes.run(app)
        said = capsys.readouterr()
        assert said.out == "" and "Traceback" not in said.err
        return int(end.value.code or 0), said.err

    return run


@pytest.fixture
def one_line_error(run_import: Import, tmp_path: Path) -> Callable[..., str]:
    """The message of an import that must fail in one line, with exit code 2 and without a visible split."""

    def run(*words: object) -> str:
        code, said = run_import(*words)
        assert code == 2 and said.count("\n") == 1 and said.startswith("error: "), said
        visible = [path.name for path in (tmp_path / "out").glob("[!.]*")]
        assert visible == [], visible
        return said

    return run
