"""Tables of results in the documentation are those of the result files, and so are the commands above them."""

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest

from benchmarks.systems import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SYSTEMS = (ROOT / "docs" / "systems.md").read_text()
QUOTED = re.findall(r"<!-- results (\w+) -->\n(.*?)<!-- end of results -->", SYSTEMS, re.S)


def test_every_section_quotes_a_result():
    assert len(QUOTED) == len(re.findall(r"^## ", SYSTEMS, re.M))


@pytest.mark.parametrize(("name", "table"), QUOTED, ids=[name for name, _ in QUOTED])
def test_tables_are_those_of_the_result_file(name, table):
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert table.strip() == markdown(result), f"python benchmarks/systems.py --tables {name} prints the new one"
    commands = re.findall(r"```\n(.*?)```", SYSTEMS, re.S)
    assert shlex.split(result["command"]) in [shlex.split(each.replace("\\\n", " ")) for each in commands]
    assert result["commit"]
    for archive, count in result.get("masks", {}).items():
        assert archive in SYSTEMS
        with zipfile.ZipFile(RESULTS / archive) as masks:
            assert len(masks.namelist()) == count
