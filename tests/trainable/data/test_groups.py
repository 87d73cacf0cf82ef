"""groups.csv and volumes.csv: what they say, and every mistake in them with its line."""

import pytest

from trainable.data.groups import Slice, read_groups, read_volumes
from trainable.errors import UserError

STEMS = ["img01", "img02", "img03"]


@pytest.fixture
def mistakes(tmp_path):
    def lines(reader, text):
        path = tmp_path / "file.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(UserError) as error:
            reader(path, STEMS)
        found = str(error.value).split("\n")
        assert all(line.startswith(str(path)) for line in found)
        return [line.removeprefix(str(path)).lstrip(",: ") for line in found]

    return lines


def test_volumes_are_read_and_images_without_one_are_left_out(tmp_path):
    path = tmp_path / "volumes.csv"
    path.write_bytes("\ufeffslice, stem, volume, note\r\n0, img01, a, x\r\n-1, img02, a, y\r\n".encode())
    assert read_volumes(path, STEMS) == {"img01": Slice("a", 0), "img02": Slice("a", -1)}


def test_a_file_without_rows_says_nothing(tmp_path):
    (tmp_path / "volumes.csv").write_text("stem,volume,slice\n")
    assert read_volumes(tmp_path / "volumes.csv", STEMS) == {}


def test_every_mistake_in_volumes_is_listed_at_once_with_its_line(mistakes):
    found = mistakes(
        read_volumes,
        "stem,volume,slice\nimg01,a,0\nimg1,a,1\n\nimg02,a,x\nimg02,a,0\nimg01,b,5\nimg03,,1\nimg03,a\nimg03,a,--2\n",
    )
    assert found == [
        "line 3: no image has the stem 'img1'. Did you mean 'img01' or 'img03' or 'img02'?",
        "line 5: slice 'x' of 'img02' is not a whole number",
        "line 6: 'img02' and 'img01' are both slice 0 of 'a'",
        "line 7: 'img01' is listed twice",
        "line 8: stem, volume and slice must all be given",
        "line 9: stem, volume and slice must all be given",
        "line 10: slice '--2' of 'img03' is not a whole number",
    ]


def test_every_mistake_in_groups_is_listed_at_once_with_its_line(mistakes):
    found = mistakes(read_groups, "stem,group\nimg01,a\n\n\nimg01,b\nimgO2,a\nimg02,\nimg01,a\n")
    assert found == [
        "line 5: 'img01' is in two groups, 'a' and 'b'",
        "line 6: no image has the stem 'imgO2'. Did you mean 'img02' or 'img03' or 'img01'?",
        "line 7: stem and group must both be given",
    ]


def test_of_many_mistakes_the_first_twenty_are_listed_and_the_others_counted(mistakes):
    found = mistakes(read_groups, "stem,group\n" + "unknown,a\n" * 27)
    assert len(found) == 21 and found[-1] == "and 7 more mistakes"
    assert found[19].startswith("line 21:")


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_groups, "stem;group\nimg01;a\n", "needs the columns stem and group, has stem;group"),
        (read_groups, "stem;group\n", "needs the columns stem and group, has stem;group"),
        (read_groups, "", "needs the columns stem and group, has none"),
        (read_volumes, "stem,volume\nimg01,a\n", "needs the columns stem, volume and slice, has stem, volume"),
        (read_volumes, "stem,volume\nimg01,a,7\n", "needs the columns stem, volume and slice, has stem, volume"),
    ],
)
def test_missing_columns_are_named(mistakes, reader, text, message):
    assert mistakes(reader, text) == [message]


@pytest.mark.parametrize("reader", [read_groups, read_volumes])
def test_a_file_that_is_no_text_is_refused(mistakes, reader):
    (line,) = mistakes(reader, b"\xff\xfe\x00stem")
    assert line.startswith("cannot be read")
