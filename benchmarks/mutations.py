"""Damage the files of finished runs in every way that disks and people know; writes results/mutations.json.

    python benchmarks/mutations.py [--mutations 1200] [--seed 1]

One run follows scripts, one trains networks and one applies methods on a tiny data set. Each mutation changes one file
of a copy, and all that reads this file must either say what it says of the intact run, or report the damage and name
the file. Outcomes: harmless (the facts are the same), recovered (they are the same after repeated work, or those of an
earlier state, which a resumed run continues), refused (an error or a note names the file), and two that must not occur:
silent (other facts without a word) and traceback.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import commit, machine
from benchmarks.mutated_facts import Reader, Subject, subjects
from benchmarks.mutated_runs import tiny_runs
from search.runs.run_folder import Run
from trainable.errors import UserError
from trainable.printing import print_table, progress_bar, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]
OUTCOMES = ("harmless", "recovered", "refused", "silent", "traceback")
LOGS = (".jsonl", ".txt")  # which are appended to, so that a copy must not share them
HEADERS = (b"PK\1\2", b"PK\3\4", b"PK\5\6")  # of zip archives
HOLE = 64  # bytes at most
SCRIPTED = 75  # percent of the mutations, because the run of scripts is read ten times faster than the others

Mutation = Callable[[bytearray, random.Random], bytearray]


def place(content: bytearray, rng: random.Random) -> int:
    """Anywhere, in half of all cases in the headers of an archive, which are small beside the weights."""
    header = rng.choice(HEADERS)
    if content[:2] == b"PK" and rng.random() < 0.5 and header in content:
        starts = [at for at in range(len(content) - 64) if content[at : at + 4] == header]
        return rng.choice(starts or [0]) + rng.randrange(64)
    return rng.randrange(len(content))


def flip_bit(content: bytearray, rng: random.Random) -> bytearray:
    content[place(content, rng)] ^= 1 << rng.randrange(8)
    return content


def change_digit(content: bytearray, rng: random.Random) -> bytearray:
    digits = [at for at, byte in enumerate(content[: 2**18]) if 48 <= byte <= 57]
    at = rng.choice(digits)
    content[at] = 48 + (content[at] - 48 + rng.randrange(1, 10)) % 10
    return content


def zero_range(content: bytearray, rng: random.Random) -> bytearray:
    start, size = place(content, rng), rng.randrange(1, HOLE)
    hole = content[start : start + size]
    content[start : start + size] = bytes(len(hole))
    return content


def delete_range(content: bytearray, rng: random.Random) -> bytearray:
    start = place(content, rng)
    del content[start : start + rng.randrange(1, HOLE)]
    return content


def delete_value(content: bytearray, rng: random.Random) -> bytearray:
    """From one comma to another, which often leaves valid JSON."""
    commas = [at for at, byte in enumerate(content[: 2**18]) if byte == ord(",")]
    if len(commas) < 2:
        return delete_range(content, rng)
    start = rng.randrange(len(commas) - 1)
    del content[commas[start] : commas[min(len(commas) - 1, start + rng.randrange(1, 6))]]
    return content


def lines_of(content: bytearray) -> list[bytes]:
    return bytes(content).splitlines(keepends=True)


def repeat_line(content: bytearray, rng: random.Random) -> bytearray:
    lines = lines_of(content)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return bytearray(b"".join(lines))


def remove_line(content: bytearray, rng: random.Random) -> bytearray:
    lines = lines_of(content)
    del lines[rng.randrange(len(lines))]
    return bytearray(b"".join(lines))


def swap_lines(content: bytearray, rng: random.Random) -> bytearray:
    lines = lines_of(content)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return bytearray(b"".join(lines))


def truncate(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


MUTATIONS: Sequence[Mutation] = (
    *(flip_bit, change_digit, zero_range, delete_range, delete_value),
    *(repeat_line, remove_line, swap_lines, truncate),
)


class Mutated:
    """Mutates the files of one run, each time in a fresh copy of it."""

    def __init__(self, run: Run, scratch: Path) -> None:
        self.run, self.scratch = run, scratch
        self.facts: dict[tuple[str, int], Any] = {}

    def try_one(self, subject: Subject, mutation: Mutation, rng: random.Random) -> tuple[str, str]:
        """The worst outcome over all readers, and what was said or raised."""
        original = (self.run.folder / subject.file).read_bytes()
        mutated = bytes(mutation(bytearray(original), rng))
        outcomes = [
            self._outcome(subject, number, reader, original, mutated) for number, reader in enumerate(subject.readers)
        ]
        return max(outcomes, key=lambda outcome: OUTCOMES.index(outcome[0]))

    def _outcome(self, subject: Subject, number: int, reader: Reader, old: bytes, new: bytes) -> tuple[str, str]:
        expected, _ = self._read(subject, number, reader, old)
        if new == old:
            return "harmless", "unchanged"
        try:
            facts, told = reader(self._copy(subject, new))
        except UserError as error:
            named = Path(subject.file).name in str(error) or "journal, line" in str(error)
            return ("refused" if named else "silent"), str(error)
        except Exception as error:  # noqa: BLE001  what the benchmark looks for
            return "traceback", repr(error)
        if facts == expected:
            return ("recovered" if subject.recovers or told else "harmless"), ""
        if told:
            return "refused", told[0]
        return ("recovered" if _earlier(subject, new, old) else "silent"), "other facts"

    def _read(self, subject: Subject, number: int, reader: Reader, content: bytes) -> tuple[Any, list[str]]:
        key = subject.file, number
        if key not in self.facts:
            self.facts[key] = reader(self._copy(subject, content))
        found: tuple[Any, list[str]] = self.facts[key]
        return found

    def _copy(self, subject: Subject, content: bytes) -> Run:
        folder = self.scratch / self.run.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.run.folder, folder, copy_function=_link)
        (folder / subject.file).unlink()
        (folder / subject.file).write_bytes(content)
        return Run(folder)


def _link(source: str, target: str) -> None:
    shutil.copyfile(source, target) if source.endswith(LOGS) else os.link(source, target)


def _earlier(subject: Subject, new: bytes, old: bytes) -> bool:
    """Whether the file holds the first records of the original, as after a crash."""
    whole = new[: new.rfind(b"\n") + 1]
    return subject.file.endswith(".jsonl") and old.startswith(whole)


def mutate(run: Run, data: Any, count: int, rng: random.Random, scratch: Path) -> Iterator[dict[str, str]]:
    """A row for each of ``count`` mutations: each file in turn, by each kind, slow ones every third turn."""
    mutated, files = Mutated(run, scratch), subjects(run, data)
    turns = [(turn, subject) for turn in range(count) for subject in files if not (subject.slow and turn % 3)]
    for turn, subject in turns[:count]:
        mutation = MUTATIONS[turn % len(MUTATIONS)] if not subject.slow else MUTATIONS[turn // 3 % len(MUTATIONS)]
        outcome, said = mutated.try_one(subject, mutation, rng)
        yield {"file": Path(subject.file).name, "kind": mutation.__name__, "outcome": outcome, "said": said}


def counts(rows: Sequence[dict[str, str]], column: str) -> list[dict[str, Any]]:
    found = Counter((row[column], row["outcome"]) for row in rows)
    names = dict.fromkeys(row[column] for row in rows)
    return [{column: name, **{outcome: found[name, outcome] for outcome in OUTCOMES}} for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=1200, help="in total")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/mutations.json")
    options = parser.parse_args()
    rng, rows, measured = random.Random(options.seed), [], commit()
    with tempfile.TemporaryDirectory() as folder, progress_bar("mutations") as progress:
        for run, data in tiny_runs(Path(folder)):
            count = options.mutations * (SCRIPTED if data is None else 100 - SCRIPTED) // (100 if data is None else 200)
            for row in mutate(run, data, count, rng, Path(folder) / "scratch"):
                rows.append(row)
                progress(len(rows), options.mutations)
                if row["outcome"] in OUTCOMES[3:]:
                    say(f"{row['outcome']}: {row['kind']} of {row['file']}: {row['said']}")
    command = f"python benchmarks/mutations.py --mutations {options.mutations} --seed {options.seed}"
    facts = {"command": command, "commit": measured, "machine": machine("torch", "pyarrow"), "mutations": len(rows)}
    by_file, by_kind = counts(rows, "file"), counts(rows, "kind")
    write_json(options.out, {**facts, "files": by_file, "kinds": by_kind})
    print_table(by_file, f"{len(rows):,} mutations")
    print_table(by_kind)


if __name__ == "__main__":
    main()
