"""Start programs by forking a process that has loaded their libraries, which saves seconds for each program.

Each program is a separate process and session with its own arguments, folder, environment and output. Only third-party
modules are preloaded, none of this project.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import multiprocessing.process
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import forked_child

LIBRARIES = """numpy pandas pyarrow.parquet pyarrow.compute pyarrow.fs cv2 PIL.Image yaml pydantic typer rich.progress
rich.live requests jsonschema google.protobuf.message torch torchvision timm segmentation_models_pytorch
albumentations ray"""


class ForkServer:
    """Starts the serving process; ``start`` works like ``subprocess.Popen`` with pipes for the output."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fork-")
        self._address = str(Path(self._folder.name, "socket"))
        python = Path(self._folder.name, "python")
        python.write_text(f"#!{sys.executable}\n{Path(forked_child.__file__).read_text()}")
        python.chmod(0o700)
        self._process = subprocess.Popen([sys.executable, __file__, self._address], start_new_session=True)

    def start(self, words, cwd, env):
        """Run ``words`` as Python would: ``-m MODULE ARGUMENT...`` or ``FILE ARGUMENT...``."""
        return Program(self._connect(), [str(word) for word in words], cwd, env)

    def run(self, words, cwd, env, timeout=300.0):
        program = self.start(words, cwd, env)
        try:
            out, err = program.communicate(timeout)
        finally:
            program.kill()
        return subprocess.CompletedProcess(words, program.returncode, out, err)

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _connect(self):
        end = time.monotonic() + 120
        while not Path(self._address).exists():  # still loading
            assert self._process.poll() is None and time.monotonic() < end, "the fork server has not started"
            time.sleep(0.05)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        return connection


class Program:
    """A running program, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, connection, words, cwd, env):
        self.args, self.returncode, self._connection = words, None, connection
        request = json.dumps({"words": words, "cwd": str(cwd), "env": dict(env)}).encode()
        pipes = [os.pipe(), os.pipe()]
        with Path(os.devnull).open() as nothing:
            files = [nothing.fileno(), *(write for _, write in pipes)]
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], files)
        connection.sendall(request)
        for _, write in pipes:
            os.close(write)
        self.stdout, self.stderr = (os.fdopen(read, encoding="utf-8", errors="replace") for read, _ in pipes)
        self.pid = int.from_bytes(connection.recv(4), "big")

    def poll(self):
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._take_status()
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._take_status()
        return self.returncode

    def communicate(self, timeout=None):
        """Read until the output is closed, which processes left behind may delay."""
        texts = ["", ""]

        def read(number, stream):
            texts[number] = stream.read()

        streams = [stream for stream in (self.stdout, self.stderr) if not stream.closed]
        for stream in streams:  # a test may have set them to non-blocking
            os.set_blocking(stream.fileno(), True)
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in enumerate(streams)]
        for reader in readers:
            reader.start()
        end = None if timeout is None else time.monotonic() + timeout
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        for stream in streams:
            stream.close()
        self.wait(timeout)
        return tuple(texts)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _take_status(self):
        status = int.from_bytes(self._connection.recv(4), "big", signed=True)
        self.returncode = status
        self._connection.close()


def serve(address):
    os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it at import; programs use a token unless they set it themselves
    gc.disable()  # nothing of the libraries is garbage
    for library in LIBRARIES.split():
        importlib.import_module(library)
    gc.enable()
    gc.collect()
    gc.freeze()  # otherwise garbage collection in a fork copies the pages of all modules
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{address}.new")
    listening.listen(64)
    Path(f"{address}.new").rename(address)
    running = {}
    parent = os.getppid()
    while os.getppid() == parent:  # the process that started it is alive
        ready, _, _ = select.select([listening, *running.values()], [], [], 0.02 if running else 0.5)
        for child, connection in running.items():
            if connection in ready:  # closed: nobody waits for this program
                os.kill(child, signal.SIGKILL)
        if listening in ready:
            connection, _ = listening.accept()
            request, files = receive(connection)
            child = os.fork()
            if child == 0:
                listening.close()
                for each in (connection, *(other for other in running.values())):
                    each.close()
                become(request, files, address)
            for file in files:
                os.close(file)
            connection.sendall(child.to_bytes(4, "big"))
            running[child] = connection
        for child in list(running):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                with running.pop(child) as connection:
                    code = os.waitstatus_to_exitcode(status)
                    with suppress(OSError):  # the test may have ended
                        connection.sendall(code.to_bytes(4, "big", signed=True))


def receive(connection):
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    text = b""
    while len(text) < int.from_bytes(size, "big"):
        text += connection.recv(1 << 16)
    return json.loads(text), files


def become(request, files, address):
    """Turn this fork into the program and run it to its end."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    multiprocessing.process.ORIGINAL_DIR = request["cwd"]  # where the processes that it spawns start
    os.environ.clear()
    os.environ.update(request["env"])
    if forked_child.CHILDREN in os.environ:
        os.environ[forked_child.ADDRESS] = address
        sys.executable = str(Path(address).with_name("python"))
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    code = 0
    try:
        run(request["words"])
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


def run(words):
    if words[0] == "-m":
        sys.argv = [words[1], *words[2:]]
        sys.path.insert(0, "")
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
