"""What Prometheus is told of a run, at the metrics endpoint of Ray's node, where all names begin with ``ray_scribble``.

Ray exports a gauge once after it was set, every ten seconds, and drops it when it has not come again for twenty. So a
gauge is set again for as long as it is true, and nothing is left standing of a driver that died.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge

FOLD, RUN = ("run", "config", "fold"), ("run",)
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "score": (FOLD, "the last score of a fold trial"),
    "step": (FOLD, "the last step that a fold trial has reported"),
    "gpu_seconds": (FOLD, "GPU-seconds spent on a fold trial"),
    "state": (FOLD, "1 running, 2 paused, 3 done, 4 failed"),
    "run_configs": (RUN, "configs of a run"),
    "run_folds": ((*RUN, "state"), "fold trials of a run in each state"),
    "run_jobs_out": (RUN, "jobs that workers of a run have now"),
    "run_gpu_seconds": (RUN, "GPU-seconds spent on a run"),
    "run_gpu_seconds_by": ((*RUN, "outcome"), "GPU-seconds spent on the fold trials of a run that are in each state"),
    "run_best_mean": (RUN, "the best mean score of a config that has all folds"),
}


class Metrics:
    """The gauges of one run, and a counter of faults since its launch."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.gauges = {name: Gauge(f"scribble_{name}", text, labels) for name, (labels, text) in GAUGES.items()}
        self.faults = Counter("scribble_faults", "faults of a fold trial since the launch", FOLD)

    def set(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name].set(value, {"run": self.run, **labels})

    def count_fault(self, **labels: str) -> None:
        self.faults.inc(1, {"run": self.run, **labels})
