"""The cores that this process may use, which a container or a batch system can make fewer than the machine has."""

import os


def num_cores() -> int:
    """How many they are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
