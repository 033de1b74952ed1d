"""Machine code that numba keeps for the next process, so that what is wrong with its files costs time and never a result."""

import hashlib
from contextlib import suppress
from functools import cache
from glob import escape
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST = hashlib.sha256().digest_size

NAME = 16
"""Letters of the part of a file's name that no other file has."""

YOUNG = 3600.0
"""Seconds in which another process may not have named a file yet that it wrote."""


class KeptCode(FunctionCache):
    """As numba's own, but that

    - code is taken for old when any file of loops has changed, not just the one that its loop stands in: a loop holds those that it calls;
    - every piece of code has a file of its own name: of two processes that compile at once, neither writes over the other's;
    - files that are cut or changed are not used, and where nothing can be written nothing is kept;
    - code that is no longer used is deleted when its loop is compiled again.

    Raises:
        RuntimeError: there is no folder to write to.
    """

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, stamp_of_loops())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except (OSError, _ChangedError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            return


class _ChangedError(Exception):
    """A file is not what was written."""


class _Files(IndexDataCacheFile):
    """An index of signatures, and a file of code for each of them, which ends with its hash."""

    def save(self, key: Any, data: Any) -> None:
        overloads = self._load_index()
        overloads[key] = name = f"{Path(self._index_name).stem}.{uuid4().hex[:NAME]}.nbc"
        self._save_data(name, data)  # before the index says that it is there
        self._save_index(overloads)
        self._delete_but(set(overloads.values()))

    def _delete_but(self, named: set[str]) -> None:
        """Deletes code of this loop that the index does not name, unless another process may be about to name it."""
        index = Path(self._index_path)
        for path in index.parent.glob(f"{escape(index.stem)}.{'[0-9a-f]' * NAME}.nbc"):
            with suppress(OSError):  # another process was faster, or reads it
                if path.name not in named and path.stat().st_mtime < time() - YOUNG:
                    path.unlink()

    def _load_index(self) -> dict[Any, str]:
        try:
            return super()._load_index()
        except Exception:  # whatever pickle says of a file that is none
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(content + hashlib.sha256(content).digest())

    def _load_data(self, name: str) -> Any:
        written = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(written[:-DIGEST]).digest() != written[-DIGEST:]:
            raise _ChangedError(name)
        return super()._load_data(name)  # what follows the code is not read


@cache
def stamp_of_loops() -> str:
    """A hash of all files of the package that hold loops."""
    package = Path(__file__).parents[1]
    files = [(path, path.read_bytes()) for path in sorted(package.rglob("*.py"))]
    held = [str(path.relative_to(package)).encode() + content for path, content in files if b"amanet.loops.compiled import" in content]
    return hashlib.sha256(b"".join(held) + (package / "loops/compiled.py").read_bytes()).hexdigest()
