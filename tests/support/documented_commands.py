"""The commands that the README, the documentation, the deployment files and the spaces show."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((ROOT / "docs").glob("*.md"))]
SPACES = {path.stem: path for path in (ROOT / "spaces").glob("*.yaml")}
FILES = [*PAGES, ROOT / "Makefile", *(ROOT / "cluster/files").iterdir(), *SPACES.values()]
TOUR = ROOT / "docs/getting_started.md"
CONTINUED = re.compile(r" \\\n[# ]*")
COMMAND = re.compile(r"python -m (search|cluster|analysis|spaces|trainable) (.*)")
BENCHMARK = re.compile(r"python benchmarks/(\w+)\.py([^`\n(]*)")
ROW = re.compile(r"^\| `python -m (\w+) .*? \|", re.M)  # several commands of one program, with slashes between them
ENDS = re.compile(r"`|\s#|\s\||&&|;|\s{3,}|\)|(?<!})'$|,$|\s*\\\\$")  # the end of a command
# What stands for a value, and values that a program accepts.
PLACEHOLDERS = {"key.path=value": "batch_size=8", '"$@"': "full_grid", "\\|": "/", "$(DEMO)": "runs/quickstart-data"}
NAMED = {
    "SPACE": "quickstart",
    "RUN": "first",
    "DATA": "data/scribbles",
    "FILE": "examples/own_parts.py",
    "DIR": "made",
}
NAMED |= {"RUN/TABLE": "first", "MASKS": "masks", "TRUTH": "data/acdc/val", "A": "winner", "NAME": "grid"}
NAMED |= {"FORMAT": "acdc-h5", "SOURCE": "ACDC", "DIR": "made"}


class Command(NamedTuple):
    file: str
    program: str
    words: str

    @property
    def text(self):
        return f"{self.program} {self.words}"

    @property
    def filled(self):
        """Its words, with a value for what is named in capitals."""
        return [NAMED.get(word, word) for word in shlex.split(self.words)]

    @property
    def form(self):
        """What commands have in common that differ by values only.

        Launches of one space have one form, whatever they set, and so have imports of one format with the same options.
        """
        name, *rest = self.filled
        options = [word for word in rest if word.startswith("--")]
        keys = [value.split("=")[0] for option, value in pairwise(rest) if option == "--set"]
        if name == "launch":
            return (self.program, name, *rest[:1], *sorted({*options} - {"--set"}))
        count = rest.index(options[0]) if options else len(rest)
        return (self.program, name, *(rest[:1] if name == "import" else ()), str(count), *sorted({*options, *keys}))


def commands(path):
    text = CONTINUED.sub(" ", path.read_text())
    text = ROW.sub(lambda row: row[0].replace("` / `", f"`\npython -m {row[1]} "), text)
    for program, words in COMMAND.findall(text):
        for placeholder, value in PLACEHOLDERS.items():
            words = words.replace(placeholder, value)
        if words := ENDS.split(words)[0].strip():
            yield Command(path.name, program, words)


def documented_commands():
    """Each once per file, longer ones first."""
    found = {each for path in FILES if path.is_file() for each in commands(path)}
    return sorted(found, key=lambda each: (-len(shlex.split(each.words)), each))


def documented_benchmarks():
    """The name of a program and its arguments."""
    return sorted({(name, words.strip()) for path in PAGES for name, words in BENCHMARK.findall(path.read_text())})


def shell_lines():
    """(file, line) of all commands in code blocks, and of those of make and pip in sentences."""
    for path in PAGES:
        text = CONTINUED.sub(" ", path.read_text())
        for language, block in re.findall(r"^```([^\n]*)\n(.*?)^```", text, re.S | re.M):
            lines = block.splitlines() if not language else ()
            yield from ((path.name, line) for line in lines if re.match(r"[(.]?[a-z][\w./]* [^─]+$", line))
        yield from ((path.name, line) for line in re.findall(r"`((?:make|pip) [^`]*)`", text))


def tour():
    """The commands of the tour after the setup, in order."""
    return re.findall(r"^python -m .*$", TOUR.read_text(), re.M)
