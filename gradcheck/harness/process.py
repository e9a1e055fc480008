"""What a process that judges arranges with the system."""

import os

import numpy as np

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC")
"""How libraries are told to use one thread: before they are imported."""


def share_cores() -> None:
    """Have each process use one core: there is one for each, and its sums have one order.

    Where the user has said otherwise, that counts.
    """
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")


def keep_heap_mapped() -> None:
    """Free one large array, after which glibc keeps freed memory for the arrays to come.

    A mapping of up to 32 MiB that is freed raises the size from which glibc maps afresh, and
    faults in, every single array: the engine runs 1.7 to 2 times as fast. Elsewhere this is idle.
    """
    np.empty(32 * 2**20 - 2**16, np.uint8)
