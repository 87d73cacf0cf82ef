"""The symbols of the live view: states differ by shape, not only by colour."""

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from trainable.printing import ABSENT

STYLES = {"done": "green", "running": "bold cyan", "paused": "yellow", "failed": "bold red", "waiting": "dim"}

NAMES = {"waiting": "not started"}  # states with a different name on the screen


@dataclass(frozen=True)
class Glyphs:
    done: str
    running: str  # by progress
    paused: str
    failed: str
    waiting: str
    bar: tuple[str, str, str]  # spent, remaining, saved
    cut: str
    dot: str
    times: str
    spread: str
    ascii: bool

    def of(self, state: str, progress: float = 0.0) -> str:
        if state == "running":
            return self.running[min(int(progress * len(self.running)), len(self.running) - 1)]
        glyph: str = getattr(self, state)
        return glyph


UNICODE = Glyphs("●", "◔◑◕", "○", "✗", "·", ("━", "─", "·"), "…", "·", "×", "±", False)
ASCII = Glyphs("#", ">", "-", "x", ".", ("=", "-", "."), "..", "|", "x", "+-", True)


def fit(text: str, width: int, glyphs: Glyphs, cut: str | None = None) -> str:
    """The text on one line, cut to this width, with control characters replaced by spaces."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    if glyphs.ascii:
        clean = clean.replace(ABSENT, "-").encode("ascii", "replace").decode()
    if cell_len(clean) <= width:
        return clean
    end = glyphs.cut if cut is None else cut
    room = width - cell_len(end)
    return set_cell_size(clean, room).rstrip() + end if room >= 0 else ""
