"""The service's processes on cores of their own, for measurements: the engine's thread on one, all else on another.

Knows processes and threads of Linux; nothing of what they do. Invariant: only processes below the given one are moved.
"""

import os
from pathlib import Path

import psutil

ENGINE_CORE, OTHER_CORE = 0, 1


def pin_this_process(core: int) -> None:
    """All threads of this process that there are now, and those they start."""
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def pin_service(root: int) -> int:
    """Pin everything below process `root`: the worker's main thread, which is the engine's, apart from the rest.

    Returns the worker's process id.
    """
    process = psutil.Process(root)
    workers = [child for child in process.children(recursive=True) if "service.worker.main" in child.cmdline()]
    assert len(workers) == 1, f"expected one worker below {root}, found {workers}"
    for member in (process, *process.children(recursive=True)):
        for thread in member.threads():
            engine = member.pid == workers[0].pid == thread.id
            os.sched_setaffinity(thread.id, {ENGINE_CORE if engine else OTHER_CORE})
    return workers[0].pid
