"""An object store on a real server: its content, retries, and errors that are not retried."""

import os

import pytest
from object_store import BUCKET

from trainable.errors import UserError
from trainable.storage.cached_copies import data_folder, fetch
from trainable.storage.object_store import Entry, Store, StoreFailed
from trainable.storage.urls import inside, read_url

# Connections that the server of the tests has left to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Clock:
    """Time passes by sleeping alone; something may happen meanwhile."""

    def __init__(self):
        self.now, self.meanwhile = 0.0, lambda now: None

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.meanwhile(self.now)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(object_store, clock):
    return Store(object_store.url("runs/demo"), clock=clock, sleep=clock.sleep)


def test_what_is_put_is_listed_read_and_deleted(store, object_store, tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    store.put(tmp_path / "a", "folds/0/a.bin")
    store.write("b.txt", b"four")
    assert object_store.names() == ["runs/demo/b.txt", "runs/demo/folds/0/a.bin"]
    assert {name: entry.size for name, entry in store.names().items()} == {"b.txt": 4, "folds/0/a.bin": 3}
    assert list(store.names(deep=False)) == ["b.txt"] and store.folders() == ["folds"]
    assert list(store.names("folds")) == ["folds/0/a.bin"] and list(store.under("folds", "0").names()) == ["a.bin"]
    assert store.entry("b.txt").size == 4 and store.entry("c") is None
    assert store.read("b.txt") == b"four" and store.read("c") is None
    store.get("folds/0/a.bin", tmp_path / "new/a")
    assert (tmp_path / "new/a").read_bytes() == b"one" and [p.name for p in (tmp_path / "new").iterdir()] == ["a"]
    store.delete("b.txt")
    store.delete("b.txt")
    assert list(store.names()) == ["folds/0/a.bin"] and store.under("nothing").names() == {}


def test_a_store_that_is_away_for_a_while_is_waited_for(store, object_store, clock):
    store.write("a", b"before")
    object_store.stop()

    def come_back(now):
        if now > 40:
            object_store.start()
            clock.meanwhile = lambda now: None

    clock.meanwhile = come_back
    store.write("b", b"after")
    assert 40 < clock.now < 60
    assert store.read("a") == b"before" and store.read("b") == b"after"


@pytest.mark.parametrize(
    "use",
    [
        lambda store, path: store.write("a", b""),
        lambda store, path: store.read("a"),
        lambda store, path: store.get("a", path),
        lambda store, path: store.names(),
        lambda store, path: store.entry("a"),
        lambda store, path: store.delete("a"),
    ],
)
def test_an_unreachable_store_is_reported_after_90_seconds(store, object_store, clock, tmp_path, use):
    object_store.stop()
    try:
        with pytest.raises(StoreFailed, match=r"s3://scribbles/runs/demo: cannot be reached, tried for [78].*NETWORK"):
            use(store, tmp_path / "a")
    finally:
        object_store.start()
    assert 70 < clock.now <= 90 and not list(tmp_path.iterdir())


def test_permanent_errors_are_reported_immediately(object_store, clock):
    store = Store(object_store.url("x", bucket="nobody-made-it"), clock=clock, sleep=clock.sleep)
    for use in (lambda: store.write("a", b""), store.names):
        with pytest.raises(StoreFailed, match="s3://nobody-made-it: this bucket does not exist"):
            use()
    assert clock.now == 0


def test_a_wrong_key_is_reported_immediately_with_the_credential_chain(store, object_store, clock, tmp_path):
    store.write("a", b"")
    for use in (lambda: store.write("a", b""), store.names, lambda: store.get("a", tmp_path / "a")):
        with object_store.checking_keys(), pytest.raises(StoreFailed) as caught:
            use()
        assert str(caught.value) == (
            "s3://scribbles/runs/demo: access denied: credentials come from the usual chain "
            "(environment, ~/.aws, instance role)"
        )
    assert clock.now == 0


def test_an_error_of_the_own_disk_is_not_taken_for_one_of_the_store(store, tmp_path):
    store.write("a", b"content")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        store.get("a", tmp_path / "file" / "a")
    with pytest.raises(FileNotFoundError, match="nothing"):
        store.put(tmp_path / "nothing", "b")


def test_the_environment_gives_server_and_region_if_the_url_does_not(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.0.0.1:9000")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    told = "s3://bucket/runs?endpoint_override=http://10.0.0.1:9000&region=eu-west-1"
    assert str(read_url("s3://bucket/runs/")) == told and str(read_url(told)) == told
    other = read_url("s3://bucket/runs?endpoint_override=minio:9000&scheme=http")
    assert other.endpoint == "http://minio:9000"
    assert str(other.under("demo")) == "s3://bucket/runs/demo?endpoint_override=http://minio:9000&region=eu-west-1"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gs://bucket/runs", "gs://: is not a supported object store; write s3://"),
        ("s3://", "names no bucket"),
        ("s3:///runs", "names no bucket"),
        ("s3://bucket/../other", "must not lead out of its folder"),
        ("s3://bucket/a//b", "must not lead out of its folder"),
        ("s3://bucket/runs?regon=x", "'regon' is unknown. Did you mean 'region'"),
        ("s3://bucket/runs?endpoint_override=ftp://host", "write http://host:port"),
        ("s3://me:hunter2@bucket/runs", "must not hold a key or a password"),
        ("s3://me:hun/ter2@bucket/runs", "must not hold a key or a password"),
        ("s3://bucket/runs?access_key=hunter2", "must not hold a key or a password"),
        ("s3://bucket/runs?SecretKey=hunter2", "must not hold a key or a password"),
        ("s3://bucket/runs?endpoint_override=http://me:hunter2@host", "must not hold a key or a password"),
    ],
)
def test_a_wrong_url_is_refused_and_a_secret_in_it_not_repeated(url, problem):
    with pytest.raises(UserError) as caught:
        read_url(url)
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value) and "ter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", "a\\..\\x", "x\0", "a/./x", "x\n", ""])
def test_a_name_that_leads_out_of_its_folder_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="must not lead out of its folder"):
        inside(tmp_path, name)
    with pytest.raises(UserError):
        fetch(None, {name: Entry(1, 0.0)}, tmp_path / "copy")


def test_nothing_is_written_through_a_link_that_leads_out(store, tmp_path):
    store.write("link/x", b"content")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="leads out of"):
        fetch(store, store.names(), tmp_path / "copy")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_data_set_is_fetched_once_and_then_only_what_has_changed(object_store, small_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path))
    store = Store(object_store.url("data/small"))
    files = [path for path in sorted(small_folder.rglob("*")) if path.is_file()]
    for path in files:
        store.put(path, path.relative_to(small_folder).as_posix())
    asked = []
    get = Store.get
    monkeypatch.setattr(Store, "get", lambda store, name, local: (asked.append(name), get(store, name, local)))
    folder = data_folder(store.url)
    assert len(asked) == len(files)
    for path in files:
        assert (folder / path.relative_to(small_folder)).read_bytes() == path.read_bytes()
    asked.clear()
    assert data_folder(store.url) == folder and asked == []
    store.write("train/images/new.png", b"new")
    removed = files[0].relative_to(small_folder).as_posix()
    store.delete(removed)
    data_folder(store.url)
    assert asked == ["train/images/new.png"] and not (folder / removed).exists()
    assert data_folder(os.fspath(small_folder)) == small_folder


def test_a_missing_data_set_is_reported(object_store, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"s3://{BUCKET}/data/none: is empty"):
        data_folder(object_store.url("data/none"))
