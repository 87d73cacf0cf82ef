"""The winner, and the configs that it cannot be distinguished from."""

import numpy as np
from numpy.typing import NDArray

from search.messages import Answer
from search.race.mixed_model import Array
from search.race.prior import relative_prior
from search.race.score_matrix import ScoreMatrix
from search.race.score_table import ScoreTable
from search.race.standings import compare

PEER_CHANCE = 0.05  # configs that are better than the winner with at least this chance are its peers


def best_complete(score_table: ScoreTable) -> Answer:
    """The answer by full-length scores alone; only a complete config can win."""
    return find_winner(_matrix(score_table))


def rank_by_full_scores(score_table: ScoreTable) -> tuple[str, ...]:
    """Every config with a full-length score, the best expected mean over all folds first."""
    matrix = _matrix(score_table)
    table = matrix.full_table(with_design=False)
    scored = matrix.alive & table.known.any(1)
    if not scored.any():
        return ()
    return ranked_names(matrix, np.flatnonzero(scored), compare(table, relative_prior(matrix), scored).mean)


def ranked_names(matrix: ScoreMatrix, rows: NDArray[np.intp], mean: Array) -> tuple[str, ...]:
    return tuple(matrix.names[row] for row in rows[np.argsort(-mean[rows], kind="stable")])


def _matrix(score_table: ScoreTable) -> ScoreMatrix:
    matrix = ScoreMatrix(score_table, ())
    for entrant in score_table.entrants.values():
        matrix.add(entrant)
        for fold in range(score_table.folds):
            score = score_table.full(entrant.config, fold)
            matrix.full[-1, fold] = np.nan if score is None else score
    return matrix


def find_winner(matrix: ScoreMatrix) -> Answer:
    table, prior = matrix.full_table(with_design=False), relative_prior(matrix)
    complete = table.known.all(1) & matrix.alive
    if not complete.any():
        return Answer(None, ())
    winner = compare(table, prior, complete).leader
    only_winner = np.arange(len(matrix.names)) == winner
    standings = compare(table, prior, only_winner, on_any_folds=True)
    peers = np.flatnonzero(matrix.alive & table.known.any(1) & (standings.chance >= PEER_CHANCE))
    ranked = sorted(peers, key=lambda row: (row != winner, -standings.mean[row]))
    return Answer(matrix.names[winner], tuple(matrix.names[row] for row in ranked))
