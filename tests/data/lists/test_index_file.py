"""Index files: parsing, validation and error messages."""

import numpy as np
import pytest

from core.errors import UserError
from core.words import printable
from data.lists.index_file import check_classes, check_index_file, merge_index_files, read_index_file
from data.lists.missing_files import missing_files


@pytest.fixture
def listed(tmp_path):
    """Writes a list of these bytes and reads it with all checks."""

    def read(content, classes=None, name="list.txt"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        listing = read_index_file(file)
        check_index_file(listing, classes)
        return listing

    return read


@pytest.mark.parametrize(
    "content",
    [
        "train/n1/a b.JPEG 0\ntrain/n2/c.JPEG 12\n",
        "train/n1/a b.JPEG 0\ntrain/n2/c.JPEG 12",
        "train/n1/a b.JPEG 0\r\ntrain/n2/c.JPEG 12\r\n",
        "\ufefftrain/n1/a b.JPEG 0\ntrain/n2/c.JPEG 12\n\n",
        "train/n1/a b.JPEG\t0\ntrain/n2/c.JPEG\t12\n",
        "train/n1/a b.JPEG,0\ntrain/n2/c.JPEG,12\n",
        "path,label\ntrain/n1/a b.JPEG,0\ntrain/n2/c.JPEG,12\n",
        "image path\tlabel\r\ntrain/n1/a b.JPEG\t0\r\ntrain/n2/c.JPEG\t12\r\n",
    ],
)
def test_the_official_form_is_read_whatever_its_line_ends(listed, content):
    listing = listed(content)
    assert listing.names == ["train/n1/a b.JPEG", "train/n2/c.JPEG"]
    assert listing.labels.tolist() == [0, 12]
    assert listing.sha256() == listed("train/n1/a b.JPEG 0\ntrain/n2/c.JPEG 12\n").sha256()


def test_line_numbers_count_the_header(listed):
    with pytest.raises(UserError, match=r"list\.txt, line 4: the label 'x'"):
        listed("path,label\na.jpg,0\nb.jpg,1\nc.jpg,x\n")
    with pytest.raises(UserError, match=r"line 4 duplicates a\.jpg of line 2;"):
        listed("path,label\na.jpg,0\nb.jpg,1\na.jpg,0\n")


def test_commas_within_names_are_no_separator(listed):
    assert listed("a,1.jpg 0\nb,2.jpg 1\n").names == ["a,1.jpg", "b,2.jpg"]


def test_bytes_that_are_no_utf8_name_the_file_that_has_them(listed, tmp_path):
    listing = listed("train/caf\u00e9.jpg 0\n".encode() + b"train/caf\xe9.jpg 1\n")
    (tmp_path / "train").mkdir()
    for name in listing.names:
        (tmp_path / name).touch()
    assert {entry.name for entry in (tmp_path / "train").iterdir()} == {"caf\u00e9.jpg", "caf\udce9.jpg"}
    assert missing_files(tmp_path, listing.names) == []
    assert printable(listing.names[1]) == "train/caf\\udce9.jpg"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a.jpg 0\nb.jpg\n", r"list.txt, line 2 is not `relative/path label`: 'b.jpg'"),
        ("a.jpg 0\n\nb.jpg 1\n", "line 2 is not `relative/path label`"),
        ("a.jpg 0\nb.jpg -1\n", "line 2: the label '-1' is not an integer >= 0"),
        ("a.jpg 0.5\n", "line 1: the label '0.5' is not an integer >= 0"),
        ("a.jpg 1_0\n", "line 1: the label '1_0' is not an integer >= 0"),
        ("a.jpg \u0663\n", "line 1: the label '\u0663' is not an integer >= 0"),
        (f"a.jpg {10**30}\n", "label that is too large"),
        ("a.jpg 0\nb.jpg 1\nc.jpg 7\n", "line 3: label 7 is out of range; valid labels are 0 to 6"),
        ("a.jpg 0\nb.jpg 1\na.jpg 1\n", "line 3 duplicates a.jpg of line 1"),
        ("a.jpg 0\n../b.jpg 1\n", "line 2: '../b.jpg' is not a relative path below the image folder"),
        ("a/../../b.jpg 1\n", "is not a relative path below"),
        ("/etc/a.jpg 1\n", "is not a relative path below"),
        ("C:/a.jpg 1\n", "is not a relative path below"),
        ("a\\b.jpg 1\n", "is not a relative path below"),
        ("./a.jpg 1\n", "is not a relative path below"),
        ("a//b.jpg 1\n", "is not a relative path below"),
        ("a/b/ 1\n", "is not a relative path below"),
        ("a/.. 1\n", "is not a relative path below"),
        ("", "is empty"),
        (b"\xff\xfea\x00", r"line 1 is not `relative/path label`"),
    ],
)
def test_a_wrong_line_is_named(listed, content, said):
    with pytest.raises(UserError, match=said) as caught:
        listed(content, classes=7)
    assert "\n" not in str(caught.value)


def test_dots_and_colons_within_names_are_no_fault(listed):
    names = ["a..b/c...jpg", ".hidden/x.jpg", "a/12:30.jpg"]
    assert listed("".join(f"{name} 0\n" for name in names)).names == names


def test_a_list_that_is_missing_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.txt cannot be read \(No such file"):
        read_index_file(tmp_path / "nothing.txt")


def test_an_empty_class_is_reported(listed):
    listing = listed("a 0\nb 3\n")
    with pytest.raises(UserError, match="no image of class 1, 2, of classes 0 to 3"):
        check_classes(listing, 4)
    with pytest.raises(UserError, match="no image of class 1, 2, 4, 5, 6 and 3 more, of classes 0 to 9"):
        check_classes(listing, 10)
    check_classes(listed("a 0\nb 1\n"), 2)


def test_lists_are_placed_in_one_table_and_must_agree(listed):
    first, second = listed("a 0\nb 1\nc 0\n"), listed("c 0\nd 2\na 0\n")
    names, labels, (here, there) = merge_index_files([first, second])
    assert names == ["a", "b", "c", "d"]
    assert labels.tolist() == [0, 1, 0, 2]
    assert here.tolist() == [0, 1, 2]
    assert there.tolist() == [2, 3, 0]
    with pytest.raises(UserError, match=r"other\.txt, line 2: b has label 2, but 1 in another index file"):
        merge_index_files([first, listed("d 2\nb 2\n", name="other.txt")])


def test_missing_files_are_found_in_order(tmp_path):
    for name in ("a/1.jpg", "a/3.jpg", "top.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["b/9.jpg", "a/1.jpg", "a/2.jpg", "top.jpg", "top.jpg/4.jpg", "none.jpg"]
    assert missing_files(tmp_path, names) == ["b/9.jpg", "a/2.jpg", "top.jpg/4.jpg", "none.jpg"]
    assert missing_files(tmp_path / "nowhere", names[:1]) == names[:1]


def test_labels_are_as_wide_as_index_arrays(listed):
    assert listed("a 0\n").labels.dtype == np.int64
