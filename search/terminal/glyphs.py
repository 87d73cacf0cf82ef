"""The signs that the live view is drawn with: each tells its state by its shape, the colour only repeats it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

STYLES = {"done": "green", "running": "bold cyan", "paused": "yellow", "failed": "bold red", "waiting": "dim"}

NAMES = {"waiting": "not begun"}  # of states that are called otherwise on the screen


@dataclass(frozen=True)
class Glyphs:
    done: str
    running: str  # from just begun to almost done
    paused: str
    failed: str
    waiting: str
    bar: tuple[str, str, str]  # spent, to come, saved
    cut: str
    dot: str
    times: str
    spread: str
    ascii: bool

    def of(self, state: str, share: float = 0.0) -> str:
        if state == "running":
            return self.running[min(int(share * len(self.running)), len(self.running) - 1)]
        sign: str = getattr(self, state)
        return sign


UNICODE = Glyphs("●", "◔◑◕", "○", "✗", "·", ("━", "─", "·"), "…", "·", "×", "±", False)
ASCII = Glyphs("#", ">", "-", "x", ".", ("=", "-", "."), "..", "|", "x", "+-", True)


def fit(text: str, width: int, glyphs: Glyphs, cut: str | None = None) -> str:
    """The text on one line of at most this width, cut where it has to be; of control signs nothing is left."""
    clean = "".join(sign if sign.isprintable() else " " for sign in text)
    if glyphs.ascii:
        clean = clean.encode("ascii", "replace").decode()
    if cell_len(clean) <= width:
        return clean
    end = glyphs.cut if cut is None else cut
    room = width - cell_len(end)
    return set_cell_size(clean, room).rstrip() + end if room >= 0 else ""
