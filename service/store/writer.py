"""The one thread that writes: what waits is done together, in one transaction.

Knows an engine and functions that take its connection; nothing of what they do. Invariants: work is done in the order
in which it came; its answer is given after the commit that holds it, never before; work that fails takes nothing else
with it; at most `room` pieces wait.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from service.store.database import for_writing, is_conflict
from service.store.failures import StoreClosed, StoreFailed

T = TypeVar("T")
_MOST_TOGETHER = 256
_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Task:
    work: Callable[[Connection], Any]
    answer: "Future[Any]"


_Done = tuple[_Task, Any, Exception | None]


class Writer:
    """Starts its thread at once; `close` ends it when all that was given is done."""

    def __init__(self, engine: Engine, *, room: int) -> None:
        self._engine = for_writing(engine)
        self._waiting: deque[_Task] = deque()
        self._news = threading.Condition()
        self._room = asyncio.Semaphore(room)
        self._closed = False
        self.commits = 0
        self._thread = threading.Thread(target=self._run, name="longtake-store", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once it is committed. Raises what it raises, StoreFailed, or StoreClosed."""
        async with self._room:
            return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[Connection], T]) -> "Future[T]":
        """As `do`, for a caller without an event loop, and without the bound."""
        answer: Future[T] = Future()
        with self._news:
            if self._closed:
                raise StoreClosed("the store is closed")
            self._waiting.append(_Task(work, answer))
            self._news.notify()
        return answer

    def close(self) -> None:
        """Returns when the thread has ended."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while tasks := self._next_tasks():
            self._do_together(tasks)

    def _next_tasks(self) -> list[_Task]:
        """All that waits, at least one; none at the end."""
        with self._news:
            while not self._waiting and not self._closed:
                self._news.wait()
            count = min(len(self._waiting), _MOST_TOGETHER)
            return [self._waiting.popleft() for _ in range(count)]

    def _do_together(self, tasks: list[_Task]) -> None:
        """One transaction, in which each task can fail for itself."""
        wanted = [task for task in tasks if task.answer.set_running_or_notify_cancel()]
        for tries in range(1, _TRIES + 1):
            try:
                done = self._try_together(wanted)
                break
            except SQLAlchemyError as error:
                if is_conflict(error) and tries < _TRIES:
                    continue
                for task in wanted:
                    task.answer.set_exception(StoreFailed(f"the store cannot write: {error.__cause__ or error}"))
                return
        for task, value, fault in done:
            if fault is None:
                task.answer.set_result(value)
            else:
                task.answer.set_exception(fault)

    def _try_together(self, wanted: list[_Task]) -> list[_Done]:
        done: list[_Done] = []
        with self._engine.begin() as connection:
            for task in wanted:
                done.append((task, *self._do(task, connection)))
        self.commits += 1
        return done

    def _do(self, task: _Task, connection: Connection) -> tuple[Any, Exception | None]:
        try:
            with connection.begin_nested():
                return task.work(connection), None
        except SQLAlchemyError as error:
            if is_conflict(error):
                raise
            return None, StoreFailed(f"the store cannot write: {error.__cause__ or error}")
        except Exception as error:
            return None, error
