"""The spaces that ship with the project, which can be given by name."""

from pathlib import Path

from trainable.errors import UserError, did_you_mean

FOLDER = Path(__file__).parent


def shipped_spaces() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def find_space(name: str | Path) -> Path:
    """Return the file of this name or, if there is none, the shipped space of this name.

    A folder of that name, such as a run, does not hide the shipped space.
    """
    path = Path(name)
    shipped = shipped_spaces()
    if str(name) in shipped and not path.is_file():
        return _relative(shipped[str(name)])
    if path.exists():
        return path
    neighbours = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    hint = did_you_mean(str(name), [*neighbours, *shipped])
    raise UserError(f"{name}: no such file.{hint} Shipped spaces: {', '.join(shipped)}.")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
