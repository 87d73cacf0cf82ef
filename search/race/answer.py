"""Who won, and who cannot be told from the winner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.messages import Answer
from search.race.mixed_model import Array, Prior, Table, Variances
from search.race.score_matrix import ScoreMatrix
from search.race.score_table import ScoreTable
from search.race.standings import compare

PEER_CHANCE = 0.05  # below this chance to be better than the winner, a config can be told from it


def best_complete(score_table: ScoreTable) -> Answer:
    """By the full-length scores alone; only a complete config can win."""
    return find_winner(*_full_length(score_table), default_prior())


def rank_by_full_scores(score_table: ScoreTable) -> tuple[str, ...]:
    """Everybody with a full-length score, best first by what all folds are expected to give."""
    score_matrix, table = _full_length(score_table)
    seen = score_matrix.alive & table.known.any(1)
    if not seen.any():
        return ()
    return ranked_names(score_matrix, np.flatnonzero(seen), compare(table, default_prior(), seen).mean)


def ranked_names(score_matrix: ScoreMatrix, rows: NDArray[np.intp], mean: Array) -> tuple[str, ...]:
    return tuple(score_matrix.names[row] for row in rows[np.argsort(-mean[rows], kind="stable")])


def _full_length(score_table: ScoreTable) -> tuple[ScoreMatrix, Table]:
    score_matrix = ScoreMatrix(score_table, ())
    for entrant in score_table.entrants.values():
        score_matrix.add(entrant)
        for fold in range(score_table.folds):
            score = score_table.full(entrant.config, fold)
            score_matrix.full[-1, fold] = np.nan if score is None else score
    none = np.zeros((len(score_matrix.names), 0))
    return score_matrix, Table(score_matrix.full, np.zeros_like(score_matrix.full), none)


def find_winner(score_matrix: ScoreMatrix, table: Table, prior: Prior) -> Answer:
    complete = np.isfinite(score_matrix.full).all(1) & score_matrix.alive
    if not complete.any():
        return Answer(None, ())
    winner = compare(table, prior, complete).leader
    alone = np.arange(len(score_matrix.names)) == winner
    on_any_folds = compare(table, prior, alone, on_any_folds=True)
    peers = np.flatnonzero(score_matrix.alive & table.known.any(1) & (on_any_folds.chance >= PEER_CHANCE))
    ranked = sorted(peers, key=lambda row: (row != winner, -on_any_folds.mean[row]))
    return Answer(score_matrix.names[winner], tuple(score_matrix.names[row] for row in ranked))


def default_prior(noise: float = 0.007, spread: float = 0.010) -> Prior:
    """Of scores between 0 and 1 as segmentation gives them: standard deviations of a fold's noise and of
    the configs.
    """
    return Prior(Variances(noise**2, spread**2, (spread / 3) ** 2))
