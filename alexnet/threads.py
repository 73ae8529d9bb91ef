"""Work on threads whose results come in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Callable, Iterable, Iterator, TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def cores() -> int:
    """How many this process may use: a cluster often gives it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int,
             ahead: int) -> Iterator[Result]:
    """`function` of each item, in the order of the items, worked out by threads, at most `ahead`
    items before they are asked for."""
    coming = iter(items)
    first = list(islice(coming, ahead))
    threads = max(1, min(threads, len(first)))
    main_threads = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        """Such a thread computes alone, like those of torch's loader: with helpers of its own there would be
        more threads than cores, and the network's would wait for each other asleep, at half the speed."""
        torch.get_num_threads()   # when first asked, torch sets a thread up with the number last set by any
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads)
    try:
        for _ in range(threads):   # each waits for all, so each has a thread to itself
            pool.submit(start)
        ready.wait()
        torch.set_num_threads(main_threads)   # after them: torch shares part of this setting among threads
        waiting = deque(pool.submit(function, item) for item in first)
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(coming, 1))
            yield result
    finally:
        ready.abort()   # frees threads still at the barrier if we were interrupted
        pool.shutdown(cancel_futures=True)
