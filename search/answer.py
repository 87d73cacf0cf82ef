"""Who won, and who cannot be told from the winner."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.board import Board
from search.mixed_model import Array, Prior, Table, Variances
from search.sheet import Sheet
from search.standings import stand
from search.words import Answer

UNTOLD = 0.05  # below this chance to be better than the winner, a config can be told from it


def best_complete(board: Board) -> Answer:
    """By the full-length scores alone; only a complete config can win."""
    return best_of(*_full_length(board), usual_prior())


def best_seen(board: Board) -> tuple[str, ...]:
    """Everybody with a full-length score, best first by what all folds are expected to give."""
    sheet, table = _full_length(board)
    seen = sheet.alive & table.known.any(1)
    if not seen.any():
        return ()
    return best_first(sheet, np.flatnonzero(seen), stand(table, usual_prior(), seen).mean)


def best_first(sheet: Sheet, rows: NDArray[np.intp], mean: Array) -> tuple[str, ...]:
    return tuple(sheet.names[row] for row in rows[np.argsort(-mean[rows], kind="stable")])


def _full_length(board: Board) -> tuple[Sheet, Table]:
    sheet = Sheet(board, ())
    for entrant in board.entrants.values():
        sheet.add(entrant)
        for fold in range(board.folds):
            score = board.full(entrant.config, fold)
            sheet.full[-1, fold] = np.nan if score is None else score
    none = np.zeros((len(sheet.names), 0))
    return sheet, Table(sheet.full, np.zeros_like(sheet.full), none)


def best_of(sheet: Sheet, table: Table, prior: Prior) -> Answer:
    complete = np.isfinite(sheet.full).all(1) & sheet.alive
    if not complete.any():
        return Answer(None, ())
    winner = stand(table, prior, complete).leader
    alone = np.arange(len(sheet.names)) == winner
    beyond = stand(table, prior, alone, beyond=True)
    peers = np.flatnonzero(sheet.alive & table.known.any(1) & (beyond.chance >= UNTOLD))
    ranked = sorted(peers, key=lambda row: (row != winner, -beyond.mean[row]))
    return Answer(sheet.names[winner], tuple(sheet.names[row] for row in ranked))


def usual_prior(noise: float = 0.007, spread: float = 0.010) -> Prior:
    """Of scores between 0 and 1 as segmentation gives them: standard deviations of a fold's noise and of
    the configs.
    """
    return Prior(Variances(noise**2, spread**2, (spread / 3) ** 2))
