"""Start programs by forking a process that has loaded their libraries, which saves seconds for each program.

Each program is a separate process and session with its own arguments, folder, environment and output. Only third-party
modules are preloaded, none of this project.
"""

from __future__ import annotations

import json
import multiprocessing.spawn
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import forked_child
import forking_process


class ForkServer:
    """Starts the serving process, unless one serves in this folder already; ``start`` works like ``subprocess.Popen``
    with pipes for the output.
    """

    def __init__(self, folder=None):
        self.folder = Path(folder or tempfile.mkdtemp(prefix="fork-"))
        self.python = self.folder / "python"
        self._process = None
        if folder is None:
            self.python.write_text(f"#!{sys.executable} -IS\n{Path(forked_child.__file__).read_text()}")
            self.python.chmod(0o700)
            command = [sys.executable, forking_process.__file__, self.folder]
            self._process = subprocess.Popen(command, start_new_session=True)

    def start(self, words, cwd, env, terminal=None):
        """Run ``words`` as Python would: ``-m MODULE ARGUMENT...`` or ``FILE ARGUMENT...``.

        The output goes to pipes, or to a terminal, from which the input comes too.
        """
        return Program(self._connect(), [str(word) for word in words], cwd, env, terminal)

    def run(self, words, cwd, env, timeout=300.0):
        program = self.start(words, cwd, env)
        try:
            out, err = program.communicate(timeout)
        finally:
            program.kill()
        return subprocess.CompletedProcess(words, program.returncode, out, err)

    @property
    def environment(self):
        """The variables that ``python``, which forks programs, needs."""
        self._wait()
        return {forked_child.CHILDREN: "1", forked_child.ADDRESS: str(self.folder / forking_process.CHILDREN)}

    def fork_workers(self, specs):
        """Let these workers of xdist be forked, so that they load no libraries either."""
        self._wait(forking_process.CHILDREN)
        os.environ[forked_child.ADDRESS] = str(self.folder / forking_process.CHILDREN)
        for spec in filter(lambda spec: spec.popen, specs):
            spec.python = str(self.python)

    @contextmanager
    def forking_children(self):
        """Fork what this process starts with ``sys.executable`` or spawns, such as Ray's processes, and what they
        start.
        """
        python = str(self.python)
        spawned = patch.object(multiprocessing.spawn, "_python_exe", os.fsencode(python))
        with patch.object(sys, "executable", python), spawned, patch.dict(os.environ, self.environment):
            yield

    def stop(self):
        """Stop the serving process if this object started it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self.folder)

    def _wait(self, address=forking_process.PROGRAMS):  # the last that it has
        end = time.monotonic() + 120
        while not (self.folder / address).exists():
            failed = self._process is not None and self._process.poll() is not None
            assert not failed and time.monotonic() < end, "the fork server has not started"
            time.sleep(0.05)

    def _connect(self):
        self._wait()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.folder / forking_process.PROGRAMS))
        return connection


class Program:
    """A running program, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, connection, words, cwd, env, terminal):
        self.args, self.returncode, self._connection = words, None, connection
        request = {"words": words, "cwd": str(cwd), "env": dict(env), "files": [0, 1, 2]}
        request = json.dumps(request).encode()
        pipes = [] if terminal else [os.pipe(), os.pipe()]
        with Path(os.devnull).open() as nothing:
            files = [terminal] * 3 if terminal else [nothing.fileno(), *(write for _, write in pipes)]
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], files)
        connection.sendall(request)
        for _, write in pipes:
            os.close(write)
        streams = [os.fdopen(read, encoding="utf-8", errors="replace") for read, _ in pipes]
        self.stdout, self.stderr = streams or (None, None)
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
