"""The overhead of a fold trial compared with plain Ray Tune and its ASHA, on trials that do nothing.

    python benchmarks/overhead.py [--trials 5000] [--fresh 40]

Each part runs in a separate process, one after the other, and is saved once it is measured: if this command is
interrupted, running it again within an hour measures only the missing parts. Ray runs without loggers and checkpoints,
so that it spends no time on unused files; the engine runs as a user launches it, with every record synced to disk.
"""

import argparse
import json
import math
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).parents[1]))


from benchmarks.machine import commit, machine
from trainable.printing import print_table, say
from trainable.storage.atomic_files import write_json

HOME = Path(__file__).parents[1]

FOLDS = 5
RUN = "overhead"
RESUMABLE_SECONDS = 3600.0  # after which saved measurements are discarded
# figure: (description, kind of limit, limit)
TARGETS = {
    "ray_over_engine": ("Ray without reuse / this engine, per fold trial", "at least", 10.0),
    "engine_over_ray": ("this engine / Ray with reuse, per fold trial", "at most", 1.2),
    "study_over_ray": ("this engine's whole command / Ray's whole script, with reuse", "at most", 1.2),
    "driver_mb": ("memory of the driver, MB", "at most", 1500.0),
    "replayed_seconds": ("from the relaunch until the journal is replayed, s", "at most", 5.0),
    "resume_seconds": ("the same until the first fold trial resumes, including the start of Ray, s", "at most", 10.0),
    "decision_mean_ms": ("a decision of the slowest policy, mean, ms", "at most", 5.0),
    "decision_p99_ms": ("a decision of the slowest policy, 99th percentile, ms", "at most", 5.0),
    "status_seconds": ("python -m search status of this run, s", "at most", 1.0),
}


def plain_ray(trials: int, reuse: bool) -> dict[str, Any]:
    """Ray Tune with its own ASHA, as in its documentation."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import logging

    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    class Nothing(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"score": self.config["quality"], "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tuner = tune.Tuner(
            tune.with_resources(Nothing, {"cpu": 1}),
            param_space={"quality": tune.uniform(0.5, 0.9)},
            tune_config=tune.TuneConfig(
                scheduler=ASHAScheduler(), metric="score", mode="max", num_samples=trials, reuse_actors=reuse
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
            ),
        )
        done = len(tuner.fit())
        seconds = time.perf_counter() - start
    ray.shutdown()
    return {"trials": done, "trial_seconds": seconds / done, "driver_mb": peak_mb()}


def engine(trials: int, runs: Path) -> dict[str, Any]:
    """The same number of fold trials through ``python -m search launch``."""
    shutil.rmtree(runs / RUN, ignore_errors=True)
    driver = launch(runs, trials)
    records = journal(runs)
    jobs = [record["at"] for record in records if record["kind"] == "job"]
    ended = next(record["at"] for record in records if record["kind"] == "end")
    reports = {(r["config"], r["fold"], r["step"]) for r in records if r["kind"] == "report"}
    return {
        "trials": len(reports),
        "trial_seconds": (ended - jobs[0]) / len(jobs),
        "journal_mb": (runs / RUN / "journal.jsonl").stat().st_size / 2**20,
        **driver,
    }


def resume(trials: int, runs: Path) -> dict[str, Any]:
    """Relaunch the run as if its driver had been killed before the last fold trials reported."""
    path = runs / RUN / "journal.jsonl"
    records = [line for line in path.read_text().splitlines(keepends=True) if '"kind":"end"' not in line]
    last = max(number for number, line in enumerate(records) if '"kind":"report"' in line)
    path.write_text("".join(records[:last]))
    start = time.time()
    launch(runs, trials)
    after = [record for record in journal(runs)[last:] if record["at"] >= start - 0.01]
    first = {kind: next(r["at"] for r in after if r["kind"] == kind) - start for kind in ("begin", "job")}
    return {"replayed_seconds": first["begin"], "resume_seconds": first["job"]}


def status(trials: int, runs: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "search", "status", RUN, "--runs", str(runs), "--format", "json"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        output = json.loads(subprocess.run(command, cwd=HOME, check=True, capture_output=True).stdout)
        seconds.append(time.perf_counter() - start)
        assert output["trials"]["done"] == trials, output
    return {"status_seconds": statistics.median(seconds), "rounds": seconds}


def decisions(configs: int) -> dict[str, Any]:
    """The time that each policy takes for the last report of a fold trial and the next job."""
    from search.policies.registry import SCHEDULERS

    timings = {name: _decisions(build(_entrants(configs), FOLDS)) for name, build in SCHEDULERS.items()}
    return {"configs": configs, "folds": FOLDS, "policies": timings}


def _entrants(configs: int) -> list[Any]:
    from search.messages import Entrant

    rng, levels = random.Random(0), {"loss": 2, "augmentation": 3, "batch_size": 3, "pc": 4, "encoder": 4, "rate": 4}
    values = [{name: rng.randrange(count) for name, count in levels.items()} for _ in range(configs)]
    return [Entrant(f"c{number}", tuple(range(1, 11)), point) for number, point in enumerate(values)]


def _decisions(policy: Any, workers: int = 8) -> dict[str, Any]:
    """Drive the policy with rising curves; configs, folds and noise differ as in segmentation."""
    from search.messages import Job, Report, Stop

    def score(job: Job, step: int) -> float:
        values = policy.score_table.entrants[job.config].parameters.items()
        config = sum(random.Random(f"{item}").gauss(0, 0.005) for item in values)
        noise = random.Random(f"{job.config} {job.fold}").gauss(0, 0.007)
        return 0.85 + config + 0.01 * job.fold + noise - 0.3 * math.exp(-step / 3)

    rng, done, times = random.Random(1), dict[tuple[str, int], int](), list[tuple[float, float]]()
    busy = [policy.next() for _ in range(workers)]
    while busy:
        worker = rng.randrange(len(busy))
        job = busy[worker]
        step = done[job.config, job.fold] = done.get((job.config, job.fold), 0) + 1
        report = Report(job.config, job.fold, step, score(job, step), float(step))
        wall, cpu = time.perf_counter(), time.thread_time()
        if isinstance(policy.report(report), Stop):
            decision = policy.next()
            times.append((time.perf_counter() - wall, time.thread_time() - cpu))
            busy[worker : worker + 1] = [decision] if isinstance(decision, Job) else []
    timings: dict[str, Any] = {"decisions": len(times)}
    for clock, column in zip(("wall", "cpu"), zip(*times, strict=True), strict=True):
        ranked = sorted(column)
        timings[f"{clock}_mean_ms"] = 1e3 * statistics.mean(ranked)
        timings[f"{clock}_p99_ms"] = 1e3 * ranked[int(0.99 * len(ranked))]
    return timings


def sync() -> dict[str, Any]:
    """The time to sync a record to disk, which a fold trial needs twice: for its job and for its report."""
    from search.runs.journal import Journal

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl") as opened:
        start = time.perf_counter()
        for number in range(500):
            opened.append("job", config="0123456789ab", fold=0, until=number)
        return {"record_ms": 1e3 * (time.perf_counter() - start) / 500}


def launch(runs: Path, trials: int) -> dict[str, Any]:
    """Run the command in this process, to measure its memory."""
    import contextlib
    import runpy

    runs.mkdir(parents=True, exist_ok=True)
    space = runs / f"{RUN}.json"  # JSON is YAML
    parameters = {"quality": {"min": 0.5, "max": 0.9}, "steps": 1, "evaluations": 1}
    settings = {"name": RUN, "folds": FOLDS, "trainable": "scripted", "parameters": parameters, "scheduler": "grid"}
    sampler = {"name": "random", "count": trials // FOLDS}
    space.write_text(json.dumps({**settings, "sampler": sampler, "resources": {"gpu": 0, "cpu": 1}}))
    sys.argv = ["search", "launch", str(space), "--runs", str(runs)]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
        runpy.run_module("search", run_name="__main__")
    return {"driver_mb": peak_mb()}


def journal(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (runs / RUN / "journal.jsonl").read_text().splitlines()]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


Part = Callable[[argparse.Namespace], dict[str, Any]]
PARTS: dict[str, Part] = {
    "ray": lambda options: plain_ray(options.fresh, reuse=False),
    "ray, reuse": lambda options: plain_ray(options.trials, reuse=True),
    "engine": lambda options: engine(options.trials, options.runs),
    "status": lambda options: status(options.trials, options.runs),
    "resume": lambda options: resume(options.trials, options.runs),
    "decisions": lambda options: decisions(options.trials // FOLDS),
    "sync": lambda options: sync(),
}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a part in a separate process, whose stderr goes to a file because writing to a terminal takes time."""
    command = [sys.executable, __file__, "--part", name, "--runs", str(options.runs)]
    command += ["--trials", str(options.trials), "--fresh", str(options.fresh)]
    start = time.perf_counter()
    options.runs.mkdir(parents=True, exist_ok=True)
    with (options.runs / "output.txt").open("w") as log:
        done = subprocess.run(command, cwd=HOME, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{(options.runs / 'output.txt').read_text()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "seconds": time.perf_counter() - start, "load": os.getloadavg()[0]}


def summary(parts: dict[str, Any]) -> dict[str, float]:
    """The figures that have a target."""
    ray, reuse, ours = (parts[name] for name in ("ray", "ray, reuse", "engine"))
    policies = parts["decisions"]["policies"].values()
    return {
        "ray_over_engine": ray["trial_seconds"] / ours["trial_seconds"],
        "engine_over_ray": ours["trial_seconds"] / reuse["trial_seconds"],
        "study_over_ray": ours["seconds"] / reuse["seconds"],
        "driver_mb": ours["driver_mb"],
        "replayed_seconds": parts["resume"]["replayed_seconds"],
        "resume_seconds": parts["resume"]["resume_seconds"],
        "decision_mean_ms": max(policy["wall_mean_ms"] for policy in policies),
        "decision_p99_ms": max(policy["wall_p99_ms"] for policy in policies),
        "status_seconds": parts["status"]["status_seconds"],
    }


def checked(figures: dict[str, float]) -> list[dict[str, Any]]:
    """Each figure with its limit and whether it is met."""
    rows = []
    for name, (figure, side, limit) in TARGETS.items():
        met = figures[name] >= limit if side == "at least" else figures[name] <= limit
        rows.append({"figure": figure, "measured": round(figures[name], 3), "target": f"{side} {limit:g}", "met": met})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials", type=int, default=5000, help=f"trials with reuse, and of the engine; a multiple of {FOLDS}"
    )
    parser.add_argument("--fresh", type=int, default=40, help="trials of Ray without reuse, about a second each")
    parser.add_argument("--out", type=Path, default=HOME / "benchmarks/results/overhead_cpu2.json")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "scribble-search-overhead")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    counts = {"trials": options.trials, "fresh": options.fresh}
    saved = options.runs / "parts.json"
    parts: dict[str, Any] = {}
    if saved.exists() and time.time() - saved.stat().st_mtime < RESUMABLE_SECONDS:
        parts = json.loads(saved.read_text()) if json.loads(saved.read_text())["counts"] == counts else {}
    parts["counts"] = counts
    for name in PARTS:
        if name not in parts:
            parts[name] = measure(name, options)
            write_json(saved, parts)
        say(f"{parts[name]['seconds']:.0f} s: {name}  {json.dumps(parts[name])}")
    document = {
        "command": f"python benchmarks/overhead.py --trials {options.trials} --fresh {options.fresh}",
        "commit": commit(),
        "machine": machine("ray"),
        "seconds": round(sum(part["seconds"] for name, part in parts.items() if name != "counts")),
        "targets": checked(summary(parts)),
        "parts": parts,
    }
    write_json(options.out, document)
    saved.unlink()
    print_table(document["targets"], f"{options.trials} fold trials that do nothing, on {document['machine']['cpu']}")


if __name__ == "__main__":
    main()
