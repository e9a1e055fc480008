"""What Linux can do with folders: lock one, and exchange two in one step."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which cannot open a folder either
    fcntl = None  # type: ignore[assignment]

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of <fcntl.h> and <linux/fs.h>."""
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What a file system says that cannot lock a folder, such as NFS."""


class LockedError(Exception):
    """Another process holds the lock."""


def lock(folder: Path) -> int:
    """Open a folder and lock it until the descriptor is closed, where that can be done at all.

    Returns
    -------
    int
        The descriptor; -1 on a system that opens no folder.

    Raises
    ------
    LockedError
        If another process has locked it.
    """
    if fcntl is None:
        return -1
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
        if is_at(descriptor, folder):
            return descriptor
        os.close(descriptor)  # exchanged for another between opening and locking


def is_at(descriptor: int, folder: Path) -> bool:
    """Tell whether an open folder is still the one of that name."""
    try:
        found = folder.stat()
    except OSError:
        return False
    return descriptor == -1 or os.path.samestat(found, os.fstat(descriptor))


def exchange(one: Path, other: Path) -> None:
    """Give each of two folders the name of the other, in one step.

    Raises
    ------
    OSError
        If the system or the file system cannot, or may not here.

    References
    ----------
    Linux manual, renameat2(2), RENAME_EXCHANGE: "atomically exchange".
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))


def flush(path: Path) -> None:
    """Have the disk keep what was written to a file, or which files a folder has."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return  # a folder on Windows
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that need not be told
            raise
    finally:
        os.close(descriptor)
