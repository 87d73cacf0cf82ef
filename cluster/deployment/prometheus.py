"""The Prometheus metrics of a run, on the metrics endpoint of Ray's node; their names begin with ``ray_scribble``.

Ray exports metrics every ten seconds and drops a gauge that has not been set for twenty. So a gauge is set again as
long as it is valid, and the metrics of a driver that died disappear.
"""

from ray.util.metrics import Counter, Gauge

FOLD, RUN = ("run", "config", "fold"), ("run",)
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "score": (FOLD, "latest score of a fold trial"),
    "step": (FOLD, "latest step that a fold trial has reported"),
    "gpu_seconds": (FOLD, "GPU-seconds spent on a fold trial"),
    "state": (FOLD, "1 running, 2 paused, 3 done, 4 failed"),
    "run_configs": (RUN, "configs of a run"),
    "run_folds": ((*RUN, "state"), "fold trials of a run in each state"),
    "run_jobs_out": (RUN, "jobs currently assigned to workers of a run"),
    "run_gpu_seconds": (RUN, "GPU-seconds spent on a run"),
    "run_gpu_seconds_by": ((*RUN, "outcome"), "GPU-seconds spent on the fold trials of a run in each state"),
    "run_best_mean": (RUN, "best mean score of a complete config"),
}


class Metrics:
    """The gauges of one run, and a counter of its faults since the launch."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.gauges = {name: Gauge(f"scribble_{name}", text, labels) for name, (labels, text) in GAUGES.items()}
        self.faults = Counter("scribble_faults", "faults of a fold trial since the launch", FOLD)

    def set(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name].set(value, {"run": self.run, **labels})

    def count_fault(self, **labels: str) -> None:
        self.faults.inc(1, {"run": self.run, **labels})
