"""Stands for Python in a program that the fork server runs: what it would start is forked as well, without imports.

A program starts it as its ``sys.executable``. It asks the fork server for the process, which enters its namespaces of
networks and mounts, passes signals on, and ends as that one ends. It needs Linux, as the fakes of clusters do.
"""

import json
import os
import signal
import socket
import sys

ADDRESS = "FORK_SERVER"  # the variable with the address of the server
WORKER = "import sys;exec(eval(sys.stdin.readline()))"  # what execnet starts a worker of xdist with
CHILDREN = "FORK_CHILDREN"  # with this variable, what a program starts with ``sys.executable`` is forked too


def open_files():
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  pathlib takes long to import
        try:
            os.fstat(int(name))
            found.append(int(name))
        except OSError:  # that of the listing
            pass
    return found


def main(words):
    if words[0] == "-u":  # unbuffered
        words = words[1:]
    files = [0, 1, 2]
    if words[0] == "-c" and words[1].startswith("from multiprocessing.spawn import"):
        files = open_files()  # the numbers of some are in what the child reads
    elif words[0] != "-m" and words != ["-c", WORKER] and not words[0].endswith(".py"):
        os.execv(sys.executable, [sys.executable, *words])
    spaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    here = os.getcwd()  # noqa: PTH109
    request = {"words": words, "cwd": here, "env": dict(os.environ), "files": files}
    request = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], files + spaces)
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
