"""A file system of a few megabytes that can be filled and emptied while programs use it."""

import errno
import subprocess
from contextlib import suppress
from pathlib import Path

FILLER = ".filler"


class SmallDisk:
    """Mounted on a folder, which needs the rights of root; PermissionError without them."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PermissionError(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.folder / FILLER).open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        (self.folder / FILLER).unlink(missing_ok=True)

    def is_full(self) -> bool:
        probe = self.folder / f"{FILLER}.probe"
        try:
            probe.write_bytes(b".")
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return False

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
