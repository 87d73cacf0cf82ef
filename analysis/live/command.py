"""``python -m analysis serve``."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Annotated

import typer

from search.commands.options import RUNS, Root
from trainable.errors import UserError
from trainable.printing import say

PORT = 8420  # unless it is taken
CHECK = 1.0  # seconds between two looks for the process that started this one


def serve(
    root: Root = RUNS,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"Default: {PORT}, or a free port if it is taken; 0: any free port."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The interface to listen on; the default cannot be reached from other machines.")
    ] = ("127.0.0.1"),
    token: Annotated[
        bool, typer.Option("--token/--no-token", help="Require the token that is part of the address.")
    ] = True,
    with_process: Annotated[int | None, typer.Option("--with-process", hidden=True)] = None,
) -> None:
    """Show all runs and their current reports in a browser.

    Nothing is ever written to a run. The address that is printed contains a token; Ctrl-C ends the server.

    Example: python -m analysis serve --runs runs
    """
    from analysis.live.access import LOOPBACK, new_token
    from search.run_storage.find_runs import all_runs

    secret = new_token() if token else None
    all_runs(root)  # a bucket that does not exist is reported now
    listener = _listener(host, port)
    if secret is None and host not in LOOPBACK:
        say("warning: without a token, everybody who reaches this machine can read the runs")
    shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
    shown = f"[{shown}]" if ":" in shown else shown
    query = "" if secret is None else f"?token={secret}"
    print(f"http://{shown}:{listener.getsockname()[1]}/{query}", flush=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(root, secret, host, listener, with_process))


async def _serve(root: str, token: str | None, host: str, listener: socket.socket, process: int | None) -> None:
    from aiohttp import web

    from analysis.live.server import application

    runner = web.AppRunner(application(root, token, host), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        while process is None or os.getppid() == process:
            await asyncio.sleep(CHECK)
    finally:
        await runner.cleanup()


def _listener(host: str, port: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    problem: OSError | None = None
    for each in (PORT, 0) if port is None else (port,):
        try:
            return socket.create_server((host, each), family=family)
        except OSError as error:
            problem = error
    raise UserError(f"{host}:{port if port is not None else PORT}: cannot be listened on ({problem})")
