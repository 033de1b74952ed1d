"""Raw files as they were downloaded: in folders, or in .zip archives that are never unpacked.

An archive is a stranger's. Before anything of it is read it is refused if an entry would leave the folder it is unpacked to, is a link,
is packed too tightly to be honest, or if there are too many of them; and reading stops at the size that was announced.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from amanet.errors import FormatError, first_of

MAX_FILE_BYTES = 64 << 20
"""The largest honest file, 300 frames of 6 bodies, has 7 MB."""
MAX_ENTRIES = 500_000
"""The largest honest archive, Kinetics-Skeleton, has 260,000."""
MAX_RATIO = 100
"""Skeleton text packs 3:1 to 5:1; files below ``SMALL`` may pack tighter, as runs of empty frames do."""
SMALL = 1 << 20

ENTRY_HEADER, ENTRY_HEADER_BYTES = "<4s2xHH16x2H", 30
"""Signature, flags, how it is packed, lengths of the name and of what follows it."""
ENCRYPTED, UTF_8 = 0x1, 0x800
"""Bits of the flags."""

_UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)
"""What is raised at a damaged, encrypted or exotically packed entry."""


@dataclass(frozen=True, slots=True)
class RawMember:
    """One raw file.

    Attributes:
        sample: its name in the data set.
        source: the folder or archive it is in.
        entry: its name therein.
        size: bytes.
        stamp: changes when the content does: time of last change of a file, CRC of an archive's entry.
        packed: bytes of an archive's entry as it is packed.
        header: where an archive's entry begins; None for a file in a folder.
    """

    sample: str
    source: Path
    entry: str
    size: int
    stamp: int
    packed: int = 0
    header: int | None = None

    @property
    def where(self) -> Path:
        """The place as a user would write it."""
        return self.source / self.entry

    def read(self) -> bytes:
        """The content, at most as long as announced.

        Raises:
            FormatError: it is damaged, or cannot be read.
        """
        try:
            if self.header is not None:
                return _unpack(self, self.header)
            with self.where.open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except _UNREADABLE as error:
            raise FormatError(f"this file cannot be read: {error}", where=self.where, cure="download or unpack it again") from error


def read_file(path: Path) -> bytes:
    """The content of one raw file.

    Raises:
        FormatError: it is not there, too long, or cannot be read.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise FormatError(f"this file cannot be read: {error.strerror}", where=path, cure="name a file that is there") from error
    if path.is_dir():
        raise FormatError("this is a folder", where=path, expected="a file", cure=f"name its files: {path}/*")
    if state.st_size > MAX_FILE_BYTES:
        raise FormatError("this file is too long for one clip", where=path, expected=f"at most {MAX_FILE_BYTES} bytes", got=state.st_size)
    return RawMember(path.stem, path.parent, path.name, state.st_size, state.st_mtime_ns).read()


def sample_name(path: PurePath, suffix: str, folders: int = 0) -> str:
    """The name of the sample that a file holds: its own less the suffix, after those of so many folders that it lies in."""
    around = path.parts[:-1][-folders:] if folders else ()
    return "-".join(name for name in (*around, path.name.removesuffix(suffix)) if name)


def list_members(paths: Sequence[Path], suffix: str, folders: int = 0) -> list[RawMember]:
    """All files of some folders (with their subfolders) and .zip archives that end in ``suffix``, sorted by sample.

    Samples are named by :func:`sample_name`. Hidden files are left out.

    Raises:
        FormatError: a path is neither; a folder cannot be read; an archive is damaged or hostile; a file is too large; a sample stands
            there twice; or there is nothing. The message lists the first offenders.
    """
    members: list[RawMember] = []
    for path in paths:
        if path.is_dir():
            members += _list_folder(path, suffix, folders)
        elif path.is_file() and zipfile.is_zipfile(path):
            members += _list_zip(path, suffix, folders)
        else:
            problem = "this is neither a folder nor a .zip archive" if path.exists() else "there is nothing at this place"
            raise FormatError(problem, where=path, cure="give the folder or the archives of the data set")
    members.sort(key=lambda member: (member.sample, member.source, member.entry))
    if not members:
        raise FormatError(
            f"there is no file whose name ends in {suffix}", where=", ".join(map(str, paths)), cure="is it the right data set?"
        )
    _refuse([str(member.where) for member in members if member.size > MAX_FILE_BYTES], f"files of more than {MAX_FILE_BYTES >> 20} MB")
    _refuse(_duplicates(members), "samples that stand there twice")
    return members


def walk_files(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders, linked ones too; each folder once, so that a link to one around it makes no loop.

    Raises:
        FormatError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        cure = "fix its rights, or move it away"
        raise FormatError(f"this folder cannot be read: {error.strerror}", where=error.filename, cure=cure) from error

    seen: set[str] = set()
    for place, subfolders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        yield from (Path(place, name) for name in names)


def _list_folder(folder: Path, suffix: str, folders: int) -> Iterator[RawMember]:
    for path in walk_files(folder):
        if path.name.startswith(".") or not path.name.endswith(suffix):
            continue
        try:
            status = path.stat()
        except OSError as error:
            raise FormatError(f"this file cannot be read: {error}", where=path) from error
        if stat.S_ISREG(status.st_mode):
            sample = sample_name(path.absolute(), suffix, folders)
            yield RawMember(sample, folder, str(path.relative_to(folder)), status.st_size, status.st_mtime_ns)


def _list_zip(path: Path, suffix: str, folders: int) -> Iterator[RawMember]:
    too_large = FormatError("this archive is too large to be a data set", where=path, expected=f"at most {MAX_ENTRIES} entries", got="more")
    if announced_entries(path) > MAX_ENTRIES:
        raise too_large
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _UNREADABLE as error:
        raise FormatError(f"this archive is damaged: {error}", where=path, cure="download it again") from error
    if len(entries) > MAX_ENTRIES:
        raise too_large
    _refuse([entry.filename for entry in entries if _leaves_folder(entry.filename)], "entries outside the archive's folder", path)
    _refuse([entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)], "entries that are links", path)
    _refuse([entry.filename for entry in entries if _is_bomb(entry)], f"entries packed more than {MAX_RATIO}:1", path)
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if place.name.endswith(suffix) and not place.name.startswith(".") and not entry.is_dir():
            sample = sample_name(place, suffix, folders)
            yield RawMember(sample, path, entry.filename, entry.file_size, entry.CRC, entry.compress_size, entry.header_offset)


def _unpack(member: RawMember, header: int) -> bytes:
    """The content of an archive's entry, by way of its own header.

    `zipfile` would read the directory of the whole archive first, which for 114,480 entries costs each worker 190 MB.
    """
    with member.source.open("rb") as file:
        file.seek(header)
        signature, flags, method, name_length, extra_length = struct.unpack(ENTRY_HEADER, file.read(ENTRY_HEADER_BYTES))
        name = file.read(name_length).decode("utf-8" if flags & UTF_8 else "cp437")
        file.seek(extra_length, os.SEEK_CUR)
        content = file.read(member.packed)
    if signature != b"PK\3\4" or name != member.entry:
        raise zipfile.BadZipFile("its header is damaged")
    if flags & ENCRYPTED or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("it is encrypted, or packed in another way than deflate")
    if method == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.size + 1)
    if len(content) != member.size or zlib.crc32(content) != member.stamp:
        raise zipfile.BadZipFile("its bytes are not those that were packed")
    return content


def announced_entries(path: Path) -> int:
    """How many entries the end of an archive announces, without reading its directory; at least what its size needs.

    `zipfile` reads a directory of whatever length before anyone can count, so a directory of a million entries is noticed here. The number
    may be a lie but the length of the directory is what `zipfile` goes by, and the entries of a data set fill at most 256 bytes each.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - (1 << 16) - 98))
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) - end < 22:
        return 0
    _, count, size = struct.unpack_from("<HHL", tail, end + 8)
    large = tail.rfind(b"PK\6\6", 0, end)
    if large >= 0 and len(tail) - large >= 56:
        count, size = struct.unpack_from("<QQ", tail, large + 32)
    return max(count, min(size, length) // 256)


def _leaves_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(name).drive)


def _is_bomb(entry: zipfile.ZipInfo) -> bool:
    return entry.file_size > SMALL and entry.file_size > MAX_RATIO * entry.compress_size


def _duplicates(members: Sequence[RawMember]) -> list[str]:
    return [f"{one.sample} ({one.where} and {two.where})" for one, two in pairwise(members) if one.sample == two.sample]


def _refuse(offenders: list[str], problem: str, where: Path | None = None) -> None:
    if offenders:
        raise FormatError(f"{len(offenders)} {problem}", where=where, got=first_of(offenders))
