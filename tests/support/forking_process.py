"""The process of the fork server, which loads libraries once and forks a program for each request."""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path

import forked_child

LIBC = ctypes.CDLL(None, use_errno=True)
HUGE, COLLAPSE = 2 << 20, 25  # the bytes of a huge page, and the advice to collapse pages into one
LIBRARIES = """numpy pandas pyarrow.parquet pyarrow.compute pyarrow.fs cv2 PIL.Image yaml pydantic typer rich.progress
rich.live requests jsonschema google.protobuf.message aiohttp aiohttp_cors click colorful fsspec msgpack
opencensus.stats opentelemetry.sdk.metrics prometheus_client torch torchvision timm segmentation_models_pytorch
albumentations scipy.stats scipy.ndimage sklearn.ensemble sqlalchemy optuna"""
RAY = "ray.tune ray.dag.compiled_dag_node"  # the last one is imported when Ray shuts down
PROGRAMS, CHILDREN = "programs", "children"  # sockets


def load(libraries):
    gc.disable()  # nothing of the libraries is garbage
    for library in libraries.split():
        importlib.import_module(library)
    gc.enable()
    gc.collect()
    gc.freeze()  # otherwise garbage collection in a fork copies the pages of all modules
    for finalizer in weakref.finalize._registry:
        finalizer.atexit = False  # torch would remove each of its operators when a fork ends


def use_huge_pages():
    """Move what is in memory to huge pages where Linux can: a fork then copies hundreds of entries, not 140,000."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *words = line.split()
        if words[0] == "rw-p" and words[4:] in ([], ["[heap]"]):  # no file
            start, end = (int(address, 16) // HUGE * HUGE for address in place.split("-"))
            for page in range(start + HUGE, end, HUGE):
                LIBC.madvise(ctypes.c_void_p(page), ctypes.c_size_t(HUGE), COLLAPSE)


def start(folder):
    """Serve programs, and what they start: Ray reads variables when it is imported, so its processes import it."""
    load(LIBRARIES)
    use_huge_pages()
    if os.fork():
        serve(folder / CHILDREN)
    else:
        os.environ["RAY_AUTH_MODE"] = "token"  # programs use a token unless they set it themselves
        load(RAY)
        serve(folder / PROGRAMS)
    os._exit(0)  # without tearing down all modules


def serve(address):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{address}.new")
    listening.listen(64)
    Path(f"{address}.new").rename(address)  # it is there when it answers
    running = {}
    parent = os.getppid()
    while os.getppid() == parent:  # the process that started it is alive
        waiting = [connection for _, connection in running.values()]
        ready, _, _ = select.select([listening, *running, *waiting], [], [], 0.5)
        for handle, (child, connection) in list(running.items()):
            if handle in ready:  # it has ended
                _, status = os.waitpid(child, 0)
                code = os.waitstatus_to_exitcode(status)
                with running.pop(handle)[1], suppress(OSError):  # the test may have ended
                    connection.sendall(code.to_bytes(4, "big", signed=True))
                os.close(handle)
            elif connection in ready:  # closed: nobody waits for this program
                os.kill(child, signal.SIGKILL)
        if listening in ready:
            connection, _ = listening.accept()
            request, files = receive(connection)
            child = os.fork()
            if child == 0:
                listening.close()
                for handle, (_, other) in running.items():
                    os.close(handle)
                    other.close()
                connection.close()
                become(request, files, address.parent)
            for file in files:
                os.close(file)
            connection.sendall(child.to_bytes(4, "big"))
            running[os.pidfd_open(child)] = child, connection


def receive(connection):
    size, files, _, _ = socket.recv_fds(connection, 4, 200)
    text = b""
    while len(text) < int.from_bytes(size, "big"):
        text += connection.recv(1 << 16)
    return json.loads(text), files


def become(request, files, home):
    """Turn this fork into the program and run it to its end."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell made this server ignore it
    enter(files[len(request["files"]) :])
    place_files(files[: len(request["files"])], request["files"])
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = request["cwd"]  # where the processes that it spawns start
    os.environ.clear()
    os.environ.update(request["env"])
    if forked_child.CHILDREN in os.environ:
        os.environ[forked_child.ADDRESS] = str(home / CHILDREN)
        sys.executable = str(home / "python")
        multiprocessing.set_executable(sys.executable)
        os.execv = partial(execute, os.execv)
    words, path, code = request["words"], sys.path[:], 0
    try:
        while words:
            sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *path]
            with suppress(ModuleNotFoundError):
                import sitecustomize  # noqa: F401  as the interpreter does when it starts
            words = run(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  printed as by the interpreter
        traceback.print_exc()
        code = 1
    # End like the interpreter, but without tearing down all modules.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def enter(spaces):
    """Enter these namespaces of networks and mounts, if this process is in others."""
    for space, kind in zip(spaces, ("net", "mnt"), strict=False):
        elsewhere = os.fstat(space).st_ino != Path(f"/proc/self/ns/{kind}").stat().st_ino
        if elsewhere and LIBC.setns(space, 0):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {kind}")
        os.close(space)


def place_files(files, numbers):
    """Give open files these numbers."""
    above = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(above, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


class Executed(BaseException):
    """A program is to become another one."""


def execute(execv, file, command):
    if file == sys.executable:
        raise Executed(command[1:])
    execv(file, command)


def run(words):
    """Run a program; the words of the one that it becomes, if it does."""
    try:
        run_once(words)
    except Executed as other:
        return other.args[0]
    return None


def run_once(words):
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = [words[1], *words[2:]]
        sys.path.insert(0, "")
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    start(Path(sys.argv[1]))
