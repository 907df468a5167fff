"""A disk after a power cut: built from what programs did, as far as it had to be there.

What a file system owes is little. Contents of a file are there after an fsync of the file; a name,
or its absence, after an fsync of its folder; a rename is there as a whole or not at all. Of
everything later any part may be there: each page of a file by itself and in any of its versions,
the size of a file in any of its values, each name by itself. Linux's file systems promise more
(ext4 keeps names in order); a program that survives this model does not depend on that.
"""

from __future__ import annotations

import enum
import os
import random
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.shim import Done, Record

PAGE_BYTES = 4096
SECTOR_BYTES = 512
_PUNCH_HOLE, _KEEP_SIZE = 0x02, 0x01


class Kept(enum.Enum):
    """How much of what was not flushed is there after the cut."""

    NOTHING = "nothing"
    EVERYTHING = "everything"
    PREFIX = "in order"
    ANY = "any part"


@dataclass(slots=True)
class _Change:
    """A write (`data`), or a new size."""

    at: int
    offset: int
    data: bytes | None
    size: int  # of the file afterwards


@dataclass(slots=True, eq=False)
class _Inode:
    """A file or a folder. `born` is where in the log; numbers are used again, that is not.
    `content` is durable up to `pending`; `size` is that of the live file."""

    is_folder: bool
    number: int
    born: int = 0
    content: bytearray = field(default_factory=bytearray)
    size: int = 0
    pending: list[_Change] = field(default_factory=list)
    # What programs see and what is durable: name -> inode. Folders only.
    names: dict[str, _Inode] = field(default_factory=dict)
    durable: dict[str, _Inode] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Naming:
    """A change of names that happens as a whole: folder, name, inode or None for its removal."""

    at: int
    steps: tuple[tuple[_Inode, str, _Inode | None], ...]

    def touches(self, folder: _Inode) -> bool:
        return any(one is folder for one, _, _ in self.steps)

    def names(self, other: tuple[_Inode, str, _Inode | None]) -> bool:
        """Whether this changes the name that another step changes."""
        return any(step[:2] == other[:2] for step in self.steps)

    def apply(self) -> None:
        for folder, name, inode in self.steps:
            if inode is None:
                folder.durable.pop(name, None)
            else:
                folder.durable[name] = inode


class DiskModel:
    """A directory tree as it is seen, and as it is sure to be. Starts from what is in `root`."""

    def __init__(self, root: Path) -> None:
        self._root_path = str(root.resolve())
        self._inodes: dict[int, _Inode] = {}
        self._naming: list[_Naming] = []
        self._root = self._scan(Path(self._root_path))

    def apply(self, record: Record) -> None:
        """Take in the next change."""
        match record.done:
            case Done.CREATE | Done.MKDIR:
                inode = _Inode(record.done is Done.MKDIR, record.inode, record.at)
                self._inodes[record.inode] = inode
                self._name(record.at, (record.path, inode))
            case Done.LINK:
                self._name(record.at, (record.path2, self._at(record.path)))
            case Done.UNLINK | Done.RMDIR:
                self._name(record.at, (record.path, None))
            case Done.RENAME:
                assert not record.mode, "no flags of renameat2 are known here"
                moved = self._at(record.path)
                folder, name = self._parent(record.path2)
                if folder.names.get(name) is not moved:  # between two names of one file: nothing
                    self._name(record.at, (record.path, None), (record.path2, moved))
            case Done.SYNC:
                self._sync(self._inodes[record.inode])
            case Done.FAILED_SYNC:
                # The kernel holds the pages for clean now and never writes them.
                self._inodes[record.inode].pending.clear()
            case _:
                self._change(self._inodes[record.inode], record)

    def cut(self, target: Path, kept: Kept, rng: random.Random) -> dict[int, Path]:
        """Write what a power cut now leaves into `target`, a new directory.

        Return a path of each file by the inode number that it had.
        """
        after = _Cut(kept, rng)
        folders: dict[int, dict[str, _Inode]] = {}

        def names(folder: _Inode) -> dict[str, _Inode]:
            return folders.setdefault(id(folder), dict(folder.durable))

        for naming in after.choose(self._naming):
            for folder, name, inode in naming.steps:
                if inode is None:
                    names(folder).pop(name, None)
                else:
                    names(folder)[name] = inode
        written: dict[_Inode, Path] = {}
        _write_tree(self._root, target, names, after, written)
        latest = sorted(written, key=lambda inode: inode.born)
        return {inode.number: written[inode] for inode in latest}

    def _scan(self, path: Path) -> _Inode:
        folder = _Inode(True, path.stat().st_ino)
        self._inodes[folder.number] = folder
        for entry in sorted(path.iterdir()):
            status = entry.lstat()
            if stat.S_ISDIR(status.st_mode):
                found = self._scan(entry)
            elif not stat.S_ISREG(status.st_mode):
                continue
            elif (known := self._inodes.get(status.st_ino)) is not None:
                found = known
            else:
                content = bytearray(entry.read_bytes())
                found = _Inode(False, status.st_ino, 0, content, len(content))
                self._inodes[status.st_ino] = found
            folder.names[entry.name] = folder.durable[entry.name] = found
        return folder

    def _parent(self, path: str) -> tuple[_Inode, str]:
        assert path.startswith(self._root_path)
        *folders, name = path[len(self._root_path) :].strip("/").split("/")
        inode = self._root
        for one in folders:
            inode = inode.names[one]
        return inode, name

    def _at(self, path: str) -> _Inode:
        folder, name = self._parent(path)
        return folder.names[name]

    def _name(self, at: int, *steps: tuple[str, _Inode | None]) -> None:
        placed = []
        for path, inode in steps:
            folder, name = self._parent(path)
            placed.append((folder, name, inode))
            if inode is None:
                # Sockets are not known here.
                folder.names.pop(name, None)
            else:
                folder.names[name] = inode
        self._naming.append(_Naming(at, tuple(placed)))

    def _sync(self, inode: _Inode) -> None:
        if inode.is_folder:
            done = [naming for naming in self._naming if naming.touches(inode)]
            for naming in done:
                naming.apply()
            left = [naming for naming in self._naming if naming not in done]
            # What is durable now of a name in another folder, nothing older can undo.
            for naming in left:
                naming.steps = tuple(
                    step
                    for step in naming.steps
                    if not any(naming.at < one.at and one.names(step) for one in done)
                )
            self._naming = [naming for naming in left if naming.steps]
            return
        for change in inode.pending:
            _write(inode.content, change)
        inode.pending.clear()

    def _change(self, inode: _Inode, record: Record) -> None:
        data: bytes | None = None
        match record.done:
            case Done.WRITE:
                data = record.data
                inode.size = max(inode.size, record.offset + len(data))
            case Done.TRUNCATE:
                inode.size = record.size
            case Done.ALLOCATE if record.mode & _PUNCH_HOLE:
                data = bytes(max(0, min(record.size, inode.size - record.offset)))
            case Done.ALLOCATE if not record.mode & _KEEP_SIZE:
                inode.size = max(inode.size, record.offset + record.size)
        inode.pending.append(_Change(record.at, record.offset, data, inode.size))


class _Cut:
    """The choices of one power cut."""

    def __init__(self, kept: Kept, rng: random.Random) -> None:
        self._kept = kept
        self._rng = rng
        # For those that are kept in order: one instant for the whole disk.
        self._until: int | None = None

    def choose(self, changes: list[_Naming]) -> Iterable[_Naming]:
        match self._kept:
            case Kept.NOTHING:
                return ()
            case Kept.EVERYTHING:
                return changes
            case Kept.PREFIX:
                self._until = self._rng.choice(changes).at if changes else None
                return [one for one in changes if one.at <= (self._until or 0)]
            case Kept.ANY:
                share = self._rng.random()
                return [one for one in changes if self._rng.random() < share]

    def content(self, inode: _Inode) -> bytes:
        """Return what is in a file."""
        pending = inode.pending
        match self._kept:
            case _ if not pending:
                kept: list[_Change] = []
            case Kept.NOTHING:
                kept = []
            case Kept.EVERYTHING:
                kept = pending
            case Kept.PREFIX:
                until = self._until if self._until is not None else self._rng.choice(pending).at
                kept = [one for one in pending if one.at <= until]
            case Kept.ANY:
                return self._any_part(inode)
        content = bytearray(inode.content)
        for change in kept:
            _write(content, change)
        if kept and kept is not pending and self._rng.random() < 0.5:
            # The last one was under way.
            self._tear(content, inode.content, kept[-1])
        return bytes(content)

    def _tear(self, content: bytearray, before: bytearray, last: _Change) -> None:
        """Let only the first sectors, or a part of one, of the last write have arrived."""
        if not last.data:
            return
        torn = last.offset + self._rng.randrange(len(last.data))
        if self._rng.random() < 0.5:
            torn = max(last.offset, torn // SECTOR_BYTES * SECTOR_BYTES)
        end = min(len(content), last.offset + len(last.data))
        old = bytes(before[torn:end]).ljust(end - torn, b"\0") if end > torn else b""
        content[torn:end] = old

    def _any_part(self, inode: _Inode) -> bytes:
        """Take every page in one of the versions it had, and the size in one of its values."""
        rng, pending = self._rng, inode.pending
        size = rng.choice([len(inode.content), *(change.size for change in pending)])
        versions: dict[int, list[bytes]] = {}
        live = bytearray(inode.content)
        for change in pending:
            _write(live, change)
            if change.data is None:
                continue
            end = change.offset + len(change.data)
            for page in range(change.offset // PAGE_BYTES, -(-end // PAGE_BYTES)):
                start = page * PAGE_BYTES
                found = versions.setdefault(page, [_page(inode.content, start)])
                found.append(_page(live, start))
        content = bytearray(inode.content)
        torn = rng.choice(sorted(versions)) if versions and rng.random() < 0.5 else None
        share = rng.random()
        for page, found in versions.items():
            chosen = rng.choice(found) if rng.random() < share else found[0]
            if page == torn:
                chosen = self._torn_page(found)
            start = page * PAGE_BYTES
            if len(content) < start + PAGE_BYTES:
                content.extend(bytes(start + PAGE_BYTES - len(content)))
            content[start : start + PAGE_BYTES] = chosen
        return bytes(content[:size]).ljust(size, b"\0")

    def _torn_page(self, versions: list[bytes]) -> bytes:
        """Mix two versions of a page: whole sectors of either, or the newer one up to somewhere in
        a sector, where the disk stopped."""
        rng = self._rng
        old, new = sorted(rng.choices(range(len(versions)), k=2))
        at = rng.randrange(PAGE_BYTES)
        if rng.random() < 0.5:
            at = at // SECTOR_BYTES * SECTOR_BYTES
            old, new = rng.sample([old, new], 2)
        return versions[new][:at] + versions[old][at:]


def _page(content: bytearray, start: int) -> bytes:
    return bytes(content[start : start + PAGE_BYTES]).ljust(PAGE_BYTES, b"\0")


def _write(content: bytearray, change: _Change) -> None:
    if change.data is not None:
        end = change.offset + len(change.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        content[change.offset : end] = change.data
    if len(content) < change.size:
        content.extend(bytes(change.size - len(content)))
    del content[change.size :]


def _write_tree(
    folder: _Inode,
    target: Path,
    names: Callable[[_Inode], Mapping[str, _Inode]],
    after: _Cut,
    written: dict[_Inode, Path],
) -> None:
    target.mkdir(mode=0o700)
    for name, inode in sorted(names(folder).items()):
        path = target / name
        if inode.is_folder:
            _write_tree(inode, path, names, after, written)
        elif (first := written.get(inode)) is not None:
            os.link(first, path)
        else:
            path.write_bytes(after.content(inode))
            path.chmod(0o600)
            written[inode] = path


def replay(model: DiskModel, records: Iterable[Record]) -> Iterator[int]:
    """Apply the records one by one, yielding the position of the log behind each."""
    for record in records:
        model.apply(record)
        yield record.at
