"""The mirror uploads all that a driver writes to the object store and never overwrites the files of another driver."""

import json
import re
import sqlite3
import time
from contextlib import closing, nullcontext

import pytest
from launched_here import use_here

from analysis.ensembles.refinement_file import keep, place_beside
from search.commands import launch as launch_module
from search.commands.launch_record import check_run, record_launch
from search.commands.run_commands import list_runs
from search.messages import Job, Report
from search.policies.registry import policy_of
from search.run_storage import mirror as mirror_module
from search.run_storage.lease import Lease
from search.run_storage.mirror import Mirror
from search.run_storage.stored_run import StoredRun, acquire_run, all_stored_runs, find_stored_run
from search.runs.journal import Journal
from search.runs.recovery import import_reports, recover
from search.runs.run_folder import Run
from search.runs.study import Study, replay_lines
from spaces.load import load_space
from trainable.errors import UserError
from trainable.printing import Format
from trainable.scripted import Script, run_script
from trainable.storage.object_store import Store, StoreFailed

# The test server leaves closing its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SPACE = """
name: demo
folds: 2
trainable: scripted
parameters: {quality: {values: [0.7, 0.8]}, steps: 3, evaluations: 3}
"""


@pytest.fixture
def root(object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    return object_store.url("runs")


@pytest.fixture
def held(root, tmp_path):
    """A store, a local folder and the lease of the run."""
    store, folder = Store(root, patience=0).under("demo"), tmp_path / "demo"
    folder.mkdir()
    with Lease(store, tmp_path / "record.driver") as lease:
        yield store, folder, lease


@pytest.fixture
def space(tmp_path):
    (tmp_path / "demo.yaml").write_text(SPACE)
    return load_space(str(tmp_path / "demo.yaml"), [])


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_the_files_of_the_driver_are_uploaded_and_those_of_the_folds_are_not(held, object_store):
    store, folder, lease = held
    fold = folder / "configs/abc/fold_0"
    fold.mkdir(parents=True)
    driver_files = (
        "space.yaml",
        "configs/abc/config.json",
        "configs/abc/fold_0/error.txt",
        "tensorboard/abc/fold_0/events",
    )
    others = ("stop", ".partial-1-env.json", "configs/abc/fold_0/log.txt", "analysis/report.html", "optuna.db-journal")
    with Mirror(store, folder, lease, overwrite=False):
        for name in (*driver_files, *others):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    names = set(object_store.names("runs/demo/"))
    assert {f"runs/demo/{name}" for name in driver_files} <= names
    assert not {f"runs/demo/{name}" for name in others} & names
    assert object_store.read("runs/demo/space.yaml") == b"space.yaml"


def test_the_committed_part_of_a_database_is_uploaded_while_others_write_to_it(held, object_store, tmp_path):
    store, folder, lease = held
    with closing(sqlite3.connect(folder / "optuna.db")) as writer:
        writer.execute("create table trials (number integer)")
        writer.execute("insert into trials values (1)")
        writer.commit()
        writer.execute("insert into trials values (2)")
        with Mirror(store, folder, lease, overwrite=False):
            pass
    (tmp_path / "copy.db").write_bytes(object_store.read("runs/demo/optuna.db"))
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("select number from trials").fetchall() == [(1,)]


def test_if_the_store_is_unreachable_at_the_end_the_error_names_the_folder_with_everything(held, object_store):
    store, folder, lease = held
    with pytest.raises(UserError) as raised, Mirror(store, folder, lease, overwrite=False):
        (folder / "space.yaml").write_text("something")
        object_store.stop()
    object_store.start()
    assert "cannot be reached" in str(raised.value)
    assert f"{folder} holds everything that the store lacks; launch again to resume and upload it" in str(raised.value)


def test_a_driver_that_lost_its_lease_is_stopped_and_uploads_nothing_more(held, object_store, monkeypatch):
    store, folder, lease = held
    monkeypatch.setattr(mirror_module, "INTERVAL", 0.0)
    taken_over = pytest.raises(UserError, match="another driver took this run over")
    with taken_over, Mirror(store, folder, lease, overwrite=False):
        lease.lost = True
        wait_for(folder / "stop")
        (folder / "space.yaml").write_text("of the stopped driver")
    assert "runs/demo/space.yaml" not in object_store.names()


def test_a_stop_request_reaches_only_the_current_driver(held, object_store, monkeypatch):
    store, folder, lease = held
    store.write("stop", b"")
    monkeypatch.setattr(mirror_module, "INTERVAL", 0.0)
    with Mirror(store, folder, lease, overwrite=False):
        (folder / "space.yaml").write_text("a round of uploads is over when this is in the store")
        while store.entry("space.yaml") is None:
            time.sleep(0.01)
        assert not (folder / "stop").exists()
        StoredRun(folder, store).request_stop()
        wait_for(folder / "stop")
    assert "runs/demo/stop" not in object_store.names()


@pytest.mark.parametrize("why", ["request", "lost lease"])
def test_a_launch_that_must_stop_while_it_is_checked_trains_nothing(root, space, tmp_path, monkeypatch, why):
    with acquire_run(root, "demo", rebuild=False) as run:
        record_launch(run, space, None)
    (run.folder / "stop").touch()  # for an earlier driver
    here, check = use_here(monkeypatch), launch_module.check_launch

    def check_slowly(space, options, run):
        assert not (run.folder / "stop").exists()
        if why == "request":
            StoredRun(run.folder, run.store).request_stop()
        else:
            run.lease.lost = True
        wait_for(run.folder / "stop")
        return check(space, options, run)

    monkeypatch.setattr(launch_module, "check_launch", check_slowly)
    monkeypatch.setattr(mirror_module, "INTERVAL", 0.0)
    taken = pytest.raises(UserError, match="another driver took this run over") if why != "request" else nullcontext()
    with taken:
        assert here("launch", tmp_path / "demo.yaml", "--runs", root).exit_code == 130
    assert not [line for line in run.lines() if line.kind == "job"]


def train(space, run, until):
    """Write the fold folders as workers do, without a driver."""
    for point in space.configs():
        run.record_config(point)
        for fold in range(2):
            folder = run.folder / "configs" / point.id / f"fold_{fold}"
            script = Script(quality=point.config.quality, steps=3, evaluations=3)
            list(run_script(script, fold, folder, until))


def test_reports_of_the_fold_folders_that_the_journal_lacks_are_recorded_once(space, tmp_path):
    run = Run(tmp_path / "runs/demo")
    record_launch(run, space, None)
    train(space, run, until=2)
    first, second = (point.id for point in space.configs())
    (run.folder / "configs" / second / "fold_1/error.txt").write_text("crash: an error\n")
    policy = policy_of(space)
    with Journal(run.journal) as journal:
        study = Study(policy, journal)
        assert import_reports(study, run, space) == 9 and import_reports(study, run, space) == 0
    replayed = policy_of(space)
    replay_lines(replayed, run.lines())
    for score_table in (policy.score_table, replayed.score_table):
        assert set(score_table.entrants) == {first, second} and second in score_table.failed
        assert sorted(score_table.curve(first, 1)) == [1, 2]
    job = replayed.next()
    assert isinstance(job, Job) and (job.config, job.fold) == (first, 0)
    replayed.report(Report(first, 0, 2, score_table.curve(first, 0)[2], 1.0))  # the first report of the resumed fold


def test_the_error_names_the_line_of_a_damaged_fold_report(space, tmp_path):
    run = Run(tmp_path / "runs/demo")
    record_launch(run, space, None)
    train(space, run, until=1)
    path = run.folder / "configs" / space.configs()[0].id / "fold_0/metrics.jsonl"
    for damage in ("nonsense", "[]", '{"step": 2}', '{"step": "x", "finished": false, "miou": 1, "seconds": 1}'):
        path.write_text(f"{path.read_text().splitlines()[0]}\n{damage}\n")
        with Journal(run.journal) as journal, pytest.raises(UserError, match=r"metrics\.jsonl, line 2: is damaged"):
            import_reports(Study(policy_of(space), journal), run, space)


def test_a_run_moves_from_a_lost_machine_to_another(root, space, object_store, tmp_path, monkeypatch):
    with acquire_run(root, "demo", rebuild=False) as run:
        assert not run.journal_may_lag
        record_launch(run, space, None)
        with Journal(run.journal) as journal:
            journal.append("begin")
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "elsewhere"))
    with acquire_run(root, "demo", rebuild=False) as again:
        assert again.folder != run.folder and again.journal_may_lag
        assert [line.kind for line in again.lines()] == ["begin"] and again.space() == run.space()
    with acquire_run(root, "demo", rebuild=False) as again:
        assert not again.journal_may_lag, "its driver ended normally, so its journal is complete"
        lease = Store(root).read("demo/driver.json")
    Store(root).write("demo/driver.json", lease)
    with acquire_run(root, "demo", rebuild=False) as again:
        assert not again.journal_may_lag, "its driver died on this machine, which has the journal"
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    Store(root).write("demo/driver.json", lease)
    object_store.age("runs/demo/driver.json", 61)
    find_stored_run("demo", root)
    with acquire_run(root, "demo", rebuild=False) as again:
        assert again.journal_may_lag, "its driver died elsewhere, although the local journal lacks nothing"


def test_a_machine_that_has_only_read_a_run_fetches_its_databases_before_it_drives_it(
    root, space, tmp_path, monkeypatch
):
    def drive(machine, text=None):
        """The database that a driver on this machine finds, and writes if there is a text."""
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / machine))
        with acquire_run(root, "demo", rebuild=False) as run:
            path = run.folder / "optuna.db"
            found = path.read_text() if path.exists() else None
            record_launch(run, space, None)
            with Journal(run.journal) as journal:
                journal.append("begin")
            if text is not None:
                path.write_text(text)
            assert not list(run.folder.glob("*.db-*")), "of an earlier database"
            return found, path

    def read(machine):
        monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / machine))
        return find_stored_run("demo", root)

    assert drive("one", "first")[0] is None
    assert not (read("two").folder / "optuna.db").exists()
    assert drive("two", "second")[0] == "first"
    (read("one").folder / "optuna.db-journal").write_text("of a driver that was killed")
    found, path = drive("one")
    assert found == "second"
    path.write_text("not uploaded yet")
    read("one")
    assert drive("one")[0] == "not uploaded yet", "the driver's own copy is the newest"


def test_a_journal_that_lacks_a_segment_is_rebuilt_from_the_fold_folders_in_the_store(
    root, space, object_store, tmp_path
):
    store, trained = Store(root).under("demo"), Run(tmp_path / "trained/demo")
    record_launch(trained, space, None)
    train(space, trained, until=3)
    for path in trained.folder.rglob("*.*"):
        if path.is_file():
            store.put(path, path.relative_to(trained.folder).as_posix())
    store.write("journal/000000007.jsonl", b"{}\n")
    with pytest.raises(UserError, match=r"lines 1 to 6 of its journal are missing; launch --recover"):
        acquire_run(root, "demo", rebuild=False).__enter__()
    with acquire_run(root, "demo", rebuild=True) as run:
        assert recover(run, space) == 12
    assert object_store.names("runs/demo/journal/") == ["runs/demo/journal/000000001.jsonl"]
    found = find_stored_run("demo", root)
    assert [line.kind for line in found.lines()].count("report") == 12 and not found.driven


def test_a_run_whose_first_driver_died_during_the_first_upload_can_be_launched(root, space, object_store):
    store = Store(root).under("demo")
    store.write("configspace.json", b"{}")
    store.write("env.json", b"{}")
    with acquire_run(root, "demo", rebuild=False) as run:
        run.folder.mkdir()
        (run.folder / ".partial-host-1-space.yaml").touch()
        check_run(space, run, None, force_code=False)
        record_launch(run, space, None)
    assert json.loads(object_store.read("runs/demo/env.json"))["packages"]


def test_only_requested_files_are_downloaded(root, space, object_store, tmp_path):
    store = Store(root).under("demo")
    store.write("space.yaml", json.dumps(space.canonical()).encode())
    for name in ("configs/a/config.json", "configs/a/fold_0/best.pt", "configs/b/fold_0/best.pt", "optuna.db", "stop"):
        store.write(name, b"{}")
    run = find_stored_run("demo", root)
    assert {path.name for path in run.folder.iterdir()} == {"space.yaml"}
    run.fetch("configs/a/*/best.pt")
    local = [path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*.*") if path.is_file()]
    assert sorted(local) == ["configs/a/fold_0/best.pt", "space.yaml"]


def test_weights_are_removed_from_the_store_by_its_driver_alone(root, space, object_store):
    store = Store(root).under("demo")
    store.write("space.yaml", json.dumps(space.canonical()).encode())
    for name in ("fold_0/last.json", "fold_0/metrics.jsonl", "fold_1/last.json"):
        store.write(f"configs/a/{name}", b"12")
    with acquire_run(root, "demo", rebuild=False) as run:
        found = run.fold_files([("a", 0), ("a", 1), ("b", 0)])
        assert found == {("a", 0): {"last.json": 2, "metrics.jsonl": 2}, ("a", 1): {"last.json": 2}, ("b", 0): {}}
        run.fold_folder("a", 0).mkdir(parents=True, exist_ok=True)
        (run.fold_folder("a", 0) / "last.json").write_bytes(b"12")
        run.remove_fold_files({("a", 0): ["last.json"]})
        assert not (run.fold_folder("a", 0) / "last.json").exists()
        held = store.read("driver.json")
        store.write("driver.json", b'{"id": "another"}')
        with pytest.raises(UserError, match="another driver has taken this run over"):
            run.remove_fold_files({("a", 1): ["last.json"]})
        store.write("driver.json", held)
        run.lease.lost = False
    with pytest.raises(UserError, match="another driver"):
        find_stored_run("demo", root).remove_fold_files({("a", 1): ["last.json"]})
    left = "runs/demo/configs/a/fold_0/metrics.jsonl", "runs/demo/configs/a/fold_1/last.json"
    assert set(object_store.names("runs/demo/configs/")) == set(left)


def test_what_an_analysis_writes_is_published_and_fetched_elsewhere(root, space, object_store, tmp_path, monkeypatch):
    Store(root).under("demo").write("space.yaml", json.dumps(space.canonical()).encode())
    run = find_stored_run("demo", root)
    (run.folder / "analysis/ensemble").mkdir(parents=True)
    (run.folder / "analysis/ensemble/ensemble.pt").write_bytes(b"weights")
    keep(run, "a", {"steps": []})
    run.publish(run.folder / "analysis/ensemble", run.folder / "analysis/refinement/a.json")
    assert object_store.read("runs/demo/analysis/ensemble/ensemble.pt") == b"weights"
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "other"))
    other = find_stored_run("demo", root)
    assert place_beside(other, ["a"], tmp_path / "ensemble") == tmp_path / "ensemble/refinement.json"
    assert not (other.folder / "analysis/ensemble").exists(), "only what was asked for is fetched"


def test_publishing_does_not_bring_back_what_another_machine_has_replaced(root, space, object_store):
    Store(root).under("demo").write("space.yaml", json.dumps(space.canonical()).encode())
    run = find_stored_run("demo", root)
    earlier = keep(run, "a", {"steps": []})
    run.publish(earlier)
    run.store.write("analysis/refinement/a.json", b"newer")
    (run.folder / "analysis/report.html").write_text("report")
    run.publish(run.folder / "analysis/report.html")
    assert object_store.read("runs/demo/analysis/refinement/a.json") == b"newer"
    assert object_store.read("runs/demo/analysis/report.html") == b"report"


@pytest.mark.parametrize("name", ["../other", "..", "a/../../b", "a\\b"])
def test_the_name_of_a_run_cannot_leave_its_root(root, name):
    with pytest.raises(UserError, match="must not lead out of its folder"):
        find_stored_run(name, root)


def test_a_run_that_cannot_be_read_is_a_row_that_says_why(root, space, capsys):
    for name in ("broken", "demo"):
        Store(root).under(name).write("space.yaml", json.dumps(space.canonical()).encode())
    Store(root).under("broken").write("journal/000000007.jsonl", b"{}\n")
    list_runs(root=root, output=Format.json)
    broken, whole = json.loads(capsys.readouterr().out)
    assert (whole["run"], whole["configs"], broken["run"], broken["configs"]) == ("demo", 0, "broken", None)
    assert re.match(r"cannot be read: .*lines 1 to 6 of its journal are missing", broken["state"])
    for output, start in ((Format.csv, "broken,cannot be read"), (Format.table, "broken  cannot be read")):
        list_runs(root=root, output=output)
        assert start in capsys.readouterr().out


def test_a_missing_bucket_is_an_error(root, object_store):
    with pytest.raises(StoreFailed, match="s3://missing-bucket: this bucket does not exist"):
        all_stored_runs(object_store.url("runs", bucket="missing-bucket"))
