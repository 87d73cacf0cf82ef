"""The live page beside a launch: a process of its own, which ends with the launch."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trainable.printing import say

PATIENCE = 5.0  # seconds that the server has to end


@contextmanager
def live_page(root: str, wanted: bool = True) -> Iterator[None]:
    """Serve the runs below ``root`` inside ``with`` and print the address as soon as there is one."""
    if not wanted:
        yield
        return
    command = [sys.executable, "-m", "analysis", "serve", "--runs", root, "--with-process", str(os.getpid())]
    # In a session of its own, because Ctrl-C is for the launch.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    over = threading.Event()
    printer = threading.Thread(target=_print_address, args=(process, root, over), name="live page")
    printer.start()
    try:
        yield
    finally:
        ran = process.poll() is None
        over.set()
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        printer.join()
        if ran:
            say(f"the live page has ended with the launch; it comes back with: python -m analysis serve --runs {root}")


def _print_address(process: subprocess.Popen[str], root: str, over: threading.Event) -> None:
    assert process.stdout is not None
    with process.stdout:
        address = process.stdout.readline().strip()
    if address:
        say(f"live page: {address}")
    elif not over.is_set():
        say(f"the live page did not start; python -m analysis serve --runs {root} says why")
