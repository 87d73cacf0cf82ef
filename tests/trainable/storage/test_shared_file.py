"""A file that a run needs, on machines that see it and on others."""

from dataclasses import replace

import pytest

from trainable.errors import UserError
from trainable.storage.shared_file import open_shared


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRIBBLE_SEARCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here/w.pt").write_bytes(b"weights")
    return open_shared("w.pt")


def test_a_path_is_relative_to_the_working_folder_at_the_launch(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert file.name == "w.pt" and file.place() == tmp_path / "here/w.pt"


def test_a_file_that_has_changed_since_is_refused(file):
    file.path.write_bytes(b"others!")
    with pytest.raises(UserError, match=r"w.pt: has changed or is gone since the search was launched"):
        file.place()


@pytest.mark.parametrize("found", [None, b"others!"])
def test_a_node_that_does_not_see_it_fetches_it_once(file, found):
    fetched = []

    def fetch():
        fetched.append(1)
        return iter([b"wei", b"ghts"])

    sent = replace(file, fetch=fetch)
    assert sent.place() == file.path and not fetched
    file.path.unlink()
    if found is not None:
        file.path.write_bytes(found)
    place = sent.place()
    assert place != file.path and place.read_bytes() == b"weights"
    assert sent.place() == place and len(fetched) == 1


def test_another_content_than_the_one_sent_is_refused(file):
    file.path.unlink()
    with pytest.raises(UserError, match="differs from the file that the search was launched with"):
        replace(file, fetch=lambda: [b"damaged"]).place()


def test_its_parts_are_its_content(file, monkeypatch):
    monkeypatch.setattr("trainable.storage.shared_file.PART", 3)
    assert list(file.parts()) == [b"wei", b"ght", b"s"]


def test_an_object_is_copied_once_and_again_when_it_has_changed(file, object_store):
    from trainable.storage.object_store import Store

    store = Store(object_store.url("weights"))
    url = str(store.address.under("a.safetensors"))
    with pytest.raises(UserError, match=r"weights/a.safetensors: there is no such object"):
        open_shared(url)
    store.write("a.safetensors", b"first")
    first = open_shared(url)
    assert first.name == url and first.place().read_bytes() == b"first"
    assert open_shared(url) == first
    store.write("a.safetensors", b"second one")
    assert open_shared(url).place().read_bytes() == b"second one" and open_shared(url).hash != first.hash
