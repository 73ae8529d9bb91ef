"""Work on threads whose results come in order."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import time
from collections import deque
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Callable, Iterable, Iterator, TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def cores() -> int:
    """How many this process may use: a cluster often gives it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int,
             ahead: int) -> Iterator[Result]:
    """`function` of each item, in the order of the items, worked out by threads, at most `ahead`
    items before they are asked for.

    Not by a ThreadPoolExecutor: its locks are Python code, and where Ctrl-C or SIGTERM raises within them
    they stay locked, so that the program never ends. A SimpleQueue is all or nothing.
    """
    coming = iter(items)
    first = list(islice(coming, ahead))
    threads = max(1, min(threads, len(first)))
    main_threads, started = torch.get_num_threads(), set()
    tasks, ready, ended = SimpleQueue(), SimpleQueue(), SimpleQueue()

    def work() -> None:
        """Such a thread computes alone, like those of torch's loader: with helpers of its own there would be
        more threads than cores, and the network's would wait for each other asleep, at half the speed."""
        torch.get_num_threads()   # when first asked, torch sets a thread up with the number last set by any
        torch.set_num_threads(1)
        ready.put(None)
        for item, answer in iter(tasks.get, None):
            try:
                answer.put((function(item), None))
            except BaseException as error:   # it is raised where the result is asked for
                answer.put((None, error))
        ended.put(None)

    def ask(item: Item) -> SimpleQueue:
        tasks.put((item, answer := SimpleQueue()))
        return answer

    def end() -> None:
        """May be called twice. Python's end calls it if nobody has by then: later no thread could answer.
        A collector of cycles may call it on one of the threads, which must not wait for itself."""
        with suppress(Empty):
            while True:
                tasks.get_nowait()   # what nobody will ask for
        for _ in started:
            tasks.put(None)
        others = len(started - {_thread.get_ident()})
        while ended.qsize() < others and not sys.is_finalizing():
            time.sleep(0.001)

    try:
        atexit.register(end)
        for _ in range(threads):
            started.add(_thread.start_new_thread(work, ()))
        for _ in range(threads):
            ready.get()
        torch.set_num_threads(main_threads)   # after them: torch shares part of this setting among threads
        waiting = deque(map(ask, first))
        while waiting:
            result, error = waiting.popleft().get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error   # else it and this frame keep each other, with all that was worked out
            waiting.extend(map(ask, islice(coming, 1)))
            yield result
    finally:
        end()
        atexit.unregister(end)
