"""Compare schedulers on the same recorded studies: their cost, and how often they find the winner of the full grid."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, fields

from search.policies.registry import scheduler
from search.replay.recorded_study import RecordedStudy
from search.replay.simulation import simulate
from trainable.machine.isolated import fresh_processes

Source = Callable[[], RecordedStudy]


@dataclass(frozen=True)
class ReplayOutcome:
    """The result of a scheduler on one study, or the mean over many; cost is a share of the full grid's GPU-seconds."""

    cost: float
    wall: float
    regret: float
    p_best: float
    p_top3: float
    set_coverage: float
    set_size: float


def replay_outcome(study: RecordedStudy, name: str, workers: int, seed: int, **settings: object) -> ReplayOutcome:
    options = settings | ({"seed": seed} if name == "random" else {})
    policy = scheduler(name)(study.entrants, study.folds, **options)
    simulated = simulate(policy, study.curves, workers)
    answer, means = policy.answer(), study.means()
    ranked = sorted(means, key=lambda config: -means[config])
    winner = means[answer.winner] if answer.winner else min(means.values())
    return ReplayOutcome(
        cost=simulated.seconds / study.seconds,
        wall=simulated.wall,
        regret=means[ranked[0]] - winner,
        p_best=float(winner == means[ranked[0]]),
        p_top3=float(winner >= means[ranked[:3][-1]]),
        set_coverage=float(any(means[config] == means[ranked[0]] for config in answer.peers)),
        set_size=len(answer.peers),
    )


def replay_outcomes(
    source: Source, names: Sequence[str], workers: int, seed: int, repeats: int
) -> dict[str, list[ReplayOutcome]]:
    """The first repeat replays the study as it is, later ones in a random order that is the same for all schedulers."""
    study = source()
    found: dict[str, list[ReplayOutcome]] = {name: [] for name in names}
    for repeat in range(repeats):
        shuffled = study.shuffled(seed + repeat) if repeat else study
        for name in names:
            found[name].append(replay_outcome(shuffled, name, workers, seed + repeat))
    return found


def compare(
    sources: Sequence[Source], names: Sequence[str], workers: int, seed: int, repeats: int, processes: int
) -> Iterator[dict[str, list[ReplayOutcome]]]:
    """Yield the outcomes of each source as they complete."""
    if processes == 1 or len(sources) == 1:
        yield from (replay_outcomes(source, names, workers, seed, repeats) for source in sources)
        return
    with fresh_processes(processes) as pool:
        tasks = [pool.submit(replay_outcomes, source, names, workers, seed, repeats) for source in sources]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def mean_row(name: str, found: Sequence[ReplayOutcome]) -> dict[str, str | float]:
    """The mean outcome of a scheduler; fsum makes it independent of the order of completion."""
    row: dict[str, str | float] = {"scheduler": name}
    for field in fields(ReplayOutcome):
        row[field.name] = math.fsum(asdict(each)[field.name] for each in found) / len(found)
    return row
