"""Raw files are found in folders and archives alike, and hostile archives are refused before anything of them is read."""

import errno
import os
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amanet.data import archive
from amanet.data.archive import announced_entries, list_members, read_file
from amanet.errors import FormatError

SUFFIX = ".skeleton"


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def samples(paths: list[Path]) -> dict[str, bytes]:
    return {member.sample: member.read() for member in list_members(paths, SUFFIX)}


def test_folders_and_archives_give_the_same(tmp_path):
    contents = {"B": b"two", "A": b"one", "C": b"three" * 1000}
    folder = tmp_path / "folder"
    (folder / "deeper" / "still").mkdir(parents=True)
    (folder / "A.skeleton").write_bytes(contents["A"])
    (folder / "deeper" / "B.skeleton").write_bytes(contents["B"])
    (folder / "deeper" / "still" / "C.skeleton").write_bytes(contents["C"])
    (folder / "readme.txt").write_text("not a clip")
    (folder / "._A.skeleton").write_text("left by another system")
    one = write_zip(
        tmp_path / "one.zip", {"nturgb+d_skeletons/": b"", "nturgb+d_skeletons/B.skeleton": b"two", "__MACOSX/._B.skeleton": b"?"}
    )
    two = write_zip(tmp_path / "two.zip", {"A.skeleton": b"one", "C.skeleton": contents["C"], "readme.txt": b"?"})
    assert samples([folder]) == samples([one, two]) == contents
    assert list(samples([two, one])) == ["A", "B", "C"]
    member = list_members([one], SUFFIX)[0]
    assert member.where == one / "nturgb+d_skeletons" / "B.skeleton"
    assert member.size == 3


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_are_read_as_zipfile_reads_them(tmp_path, method):
    """Of any length, of names beyond ASCII, behind something else, with and without sizes in their headers."""
    path = tmp_path / "some.zip"
    path.write_bytes(b"something before the archive")
    with zipfile.ZipFile(path, "a", method) as file:
        for index, name in enumerate(("A", "ä", "b/C")):
            file.writestr(f"{name}.skeleton", bytes(range(256)) * index)
        with file.open("D.skeleton", "w", force_zip64=True) as entry:
            entry.write(b"streamed")
    with zipfile.ZipFile(path) as file:
        expected = {Path(name).stem: file.read(name) for name in file.namelist()}
    assert samples([path]) == expected
    assert len(expected) == 4


def test_entries_packed_in_another_way_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("A.skeleton", b"1" * 100)
    with pytest.raises(FormatError, match="packed in another way than deflate"):
        samples([tmp_path / "some.zip"])


def test_entries_that_are_encrypted_are_refused(tmp_path):
    path = write_zip(tmp_path / "some.zip", {"A.skeleton": b"1"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # of the flags in the entry's own header
    path.write_bytes(content)
    with pytest.raises(FormatError, match="it is encrypted"):
        samples([path])


def test_an_archive_of_many_entries_costs_a_reader_nothing(tmp_path, monkeypatch):
    members = list_members([write_zip(tmp_path / "some.zip", {"A.skeleton": b"1"})], SUFFIX)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # whoever opens one reads all of its directory
    assert members[0].read() == b"1"


def test_stamp_changes_with_the_content(tmp_path):
    stamps = {list_members([write_zip(tmp_path / f"{text}.zip", {"A.skeleton": text.encode()})], SUFFIX)[0].stamp for text in ("a", "b")}
    assert len(stamps) == 2


@pytest.mark.parametrize(
    "name", ["../A.skeleton", "a/../../A.skeleton", "/etc/A.skeleton", "..\\A.skeleton", "C:\\A.skeleton", "\\A.skeleton"]
)
def test_entries_that_leave_the_folder_are_refused(tmp_path, name):
    path = write_zip(tmp_path / "evil.zip", {"fine.skeleton": b"1", name: b"2"})
    with pytest.raises(FormatError, match="1 entries outside the archive's folder") as caught:
        list_members([path], SUFFIX)
    assert str(path) == caught.value.where


def test_links_are_refused(tmp_path):
    entry = zipfile.ZipInfo("A.skeleton")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(FormatError, match="1 entries that are links") as caught:
        list_members([tmp_path / "evil.zip"], SUFFIX)
    assert caught.value.got == "A.skeleton"


def test_bombs_are_refused_unread(tmp_path):
    path = write_zip(tmp_path / "bomb.zip", {"A.skeleton": bytes(30 << 20)})
    began = time.monotonic()
    with pytest.raises(FormatError, match="packed more than 100:1"):
        list_members([path], SUFFIX)
    assert time.monotonic() - began < 0.1


def test_files_that_are_too_large_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 1000)
    (tmp_path / "A.skeleton").write_bytes(bytes(1001))
    with pytest.raises(FormatError, match="1 files of more than"):
        list_members([tmp_path], SUFFIX)


def test_small_files_may_be_packed_tightly(tmp_path):
    assert samples([write_zip(tmp_path / "empty.zip", {"A.skeleton": b"0\n" * 3000})]) == {"A": b"0\n" * 3000}


def test_a_million_entries_are_refused_at_once(tmp_path):
    number = 1_000_000
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * number
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path = tmp_path / "many.zip"
    path.write_bytes(directory + large + locator + end)
    began = time.monotonic()
    with pytest.raises(FormatError, match="too large to be a data set"):
        list_members([path], SUFFIX)
    assert time.monotonic() - began < 0.5
    assert zipfile.is_zipfile(path)


def test_an_archive_that_announces_fewer_entries_than_its_directory_has_room_for_is_refused_unread(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "lie.zip", {f"{index:04}{'x' * 200}.skeleton": b"1" for index in range(400)})
    content = path.read_bytes()
    path.write_bytes(content[:-14] + struct.pack("<2H", 1, 1) + content[-10:])
    monkeypatch.setattr(archive, "MAX_ENTRIES", 300)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(FormatError, match="too large to be a data set"):
        list_members([path], SUFFIX)


@given(number=st.integers(0, 300), comment=st.binary(max_size=300))
def test_announced_entries_are_those_there_are(tmp_path_factory, number, comment):
    path = tmp_path_factory.mktemp("zips") / "some.zip"
    with zipfile.ZipFile(path, "w") as file:
        for entry in range(number):
            file.writestr(str(entry), b"")
        file.comment = comment.replace(b"PK", b"..")
    assert announced_entries(path) == number


def test_samples_that_stand_there_twice_are_refused_with_the_first_ten(tmp_path):
    entries = {f"S{i:02}.skeleton": b"1" for i in range(14)}
    one, two = write_zip(tmp_path / "one.zip", entries), write_zip(tmp_path / "two.zip", {f"deep/{name}": b"2" for name in entries})
    with pytest.raises(FormatError, match="14 samples that stand there twice") as caught:
        list_members([one, two], SUFFIX)
    got = str(caught.value.got)
    assert f"S00 ({one}/S00.skeleton and {two}/deep/S00.skeleton)" in got
    assert "S09" in got
    assert "S10" not in got
    assert "and 4 more" in got


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\5\6" + bytes(17)])
def test_what_is_neither_folder_nor_archive_is_refused(tmp_path, content):
    path = tmp_path / "raw.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match="nothing at this place" if content is None else r"neither a folder nor a \.zip"):
        list_members([path], SUFFIX)


def test_nothing_found_is_an_error(tmp_path):
    write_zip(tmp_path / "other.zip", {"A.txt": b""})
    for path in (tmp_path, tmp_path / "other.zip"):
        with pytest.raises(FormatError, match=r"no file whose name ends in \.skeleton"):
            list_members([path], SUFFIX)


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    raw, disk = tmp_path / "raw", tmp_path / "disk"
    for folder, sample in ((raw / "a", "one"), (disk, "two")):
        folder.mkdir(parents=True)
        (folder / f"{sample}.skeleton").write_bytes(sample.encode())
    (raw / "linked").symlink_to(disk)
    (raw / "again").symlink_to(disk)
    (raw / "a" / "around").symlink_to(raw)
    (disk / "back").symlink_to(raw / "a")
    assert samples([raw]) == {"one": b"one", "two": b"two"}


def test_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "sound").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "sound" / "one.skeleton").touch()
    scan = os.scandir

    def scan_what_is_open(place):
        if Path(place).name == "closed":  # as it is for all but root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", scan_what_is_open)
    with pytest.raises(FormatError, match=r"closed: this folder cannot be read: Permission denied(.|\n)*what to do"):
        list_members([tmp_path], ".skeleton")


def test_dangling_link_is_an_error(tmp_path):
    (tmp_path / "A.skeleton").symlink_to("nowhere")
    with pytest.raises(FormatError, match="cannot be read"):
        list_members([tmp_path], SUFFIX)


def test_file_that_vanished_is_an_error(tmp_path):
    (tmp_path / "A.skeleton").write_bytes(b"1")
    member = list_members([tmp_path], SUFFIX)[0]
    (tmp_path / "A.skeleton").unlink()
    with pytest.raises(FormatError, match="cannot be read"):
        member.read()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_archives_never_give_wrong_bytes(tmp_path_factory, data):
    contents = {"A": b"one" * 50, "B": b"two" * 50}
    path = write_zip(tmp_path_factory.mktemp("zips") / "some.zip", {f"{name}.skeleton": content for name, content in contents.items()})
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        got = samples([path])
    except FormatError:
        return
    assert set(got.values()) <= set(contents.values())


def test_one_file_is_read_up_to_its_limit(tmp_path, monkeypatch):
    path = tmp_path / "A.skeleton"
    with pytest.raises(FormatError, match="cannot be read"):
        read_file(path)
    path.write_bytes(bytes(1000))
    assert read_file(path) == bytes(1000)
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 999)
    with pytest.raises(FormatError, match="too long"):
        read_file(path)
