"""A running search cannot be reached from other machines, and its secrets are not written anywhere."""

import contextlib
import re
import stat
from pathlib import Path

import pytest
from launched_search import SECRETS

LISTENING = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def family(leader):
    """A process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, added = set(), {leader}
    while added:
        found |= added
        added = {pid for pid, parent in parents.items() if parent in added} - found
    return found


def listening(processes):
    """(address as the kernel writes it, port) of every socket on which one of these processes listens."""
    sockets = set()
    for pid in processes:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(handle.readlink()))
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = row.split()
            if f"socket:[{words[9]}]" in sockets and (words[3] == LISTENING or table.startswith("udp")):
                address, port = words[1].split(":")
                yield address, int(port, 16)


def commands(processes):
    for pid in processes:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes()


def test_no_process_of_a_search_can_be_reached_from_another_machine(searches):
    for search in searches:
        endpoints = set(listening(family(search.process.pid)))
        # The GCS, the raylet, the agents, the dashboard, and the workers have several each.
        assert len(endpoints) >= 8 and {address for address, _ in endpoints} <= LOOPBACK
        metrics = search.address("metrics for Prometheus")
        assert metrics.startswith("http://127.0.0.1:")
        assert int(re.search(r":(\d+)/", metrics)[1]) in {port for _, port in endpoints}


def test_a_search_starts_no_autoscaler_and_no_log_monitor(searches):
    programs = b" ".join(commands(family(searches[0].process.pid)))
    assert b"dashboard.py" in programs and b"gcs_server" in programs
    assert b"monitor.py" not in programs


def test_only_the_owner_can_read_the_token_file(searches, token_file):
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    for search in searches:
        assert f"cat {token_file}" in search.stderr.read_text()


def test_no_secret_is_in_a_run_folder_a_log_or_the_list_of_processes(searches, token_file):
    secrets = [token_file.read_bytes().strip(), *(value.encode() for value in SECRETS.values())]
    assert all(secrets)
    for search in searches:
        processes = family(search.process.pid)
        command_lines = b"\0".join(commands(processes))
        session = re.search(rb"/[^\0=]*/session_[\d_-]+", command_lines)[0].decode()
        files = [search.stderr, search.stdout, *search.run.rglob("*"), *Path(session).rglob("*")]
        names = {path.name for path in files}
        assert {"journal.jsonl", "log.txt", "gcs_server.out", "raylet.out"} <= names
        for path in files:
            if path.is_file():
                content = path.read_bytes()
                assert not any(secret in content for secret in secrets), path
    all_commands = list(commands(path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline")))
    assert not any(secret in line for line in all_commands for secret in secrets)


@pytest.mark.parametrize("name", SECRETS)
def test_the_workers_do_have_the_credentials(searches, name):
    """Otherwise the test above would pass because there is nothing to find."""
    workers = [pid for pid in family(searches[0].process.pid) if b" config " in b"".join(commands([pid]))]
    assert len(workers) == 2
    for pid in workers:
        assert f"{name}={SECRETS[name]}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
