"""Stands for Python in a program that the fork server runs: what it would start is forked as well, without imports.

A program starts it as its ``sys.executable``. It asks the fork server for the process, passes signals on, and ends as
that one ends. It needs Linux, as the fakes of clusters do.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

ADDRESS = "FORK_SERVER"  # the variable with the address of the server
CHILDREN = "FORK_CHILDREN"  # with this variable, what a program starts with ``sys.executable`` is forked too


def main(words):
    if words[0] != "-m" and not words[0].endswith(".py"):
        os.execv(sys.executable, [sys.executable, *words])
    request = json.dumps({"words": words, "cwd": str(Path.cwd()), "env": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(request)
        child = int.from_bytes(connection.recv(4), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: os.kill(child, number))
        code = int.from_bytes(connection.recv(4), "big", signed=True)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
