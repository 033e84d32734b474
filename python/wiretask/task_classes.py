"""What a task is: the base class, and which classes are known to make tasks.

Asking each task for its three methods, and making each in as many calls as its class might want, costs more than
queueing it. So what is found of a class is kept for a while. Must not know dispatchers or channels. Source: `ITask`.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, Protocol

from zope.interface import implementer

from wiretask.housekeeper import safe_repr
from wiretask.interfaces import ITask

__all__ = ["Task", "TaskLike", "check_task", "has_method", "note_if_plain", "plain_task_classes", "task_classes"]


class TaskLike(Protocol):
    """What can be queued: any object with these three methods (see `wiretask.interfaces.ITask`)."""

    def service(self) -> object:
        """Do the work; called on a worker."""

    def cancel(self) -> object:
        """Called instead of `service`."""

    def defer(self) -> object:
        """Called in the adding thread, just before the task is queued."""


@implementer(ITask)
class Task:
    """One request of a channel, to be served on a worker thread. Subclasses define `service`.

    Whether a subclass overrides `__init__` or `defer` is looked up when a channel first makes one of its objects.

    Args:
        channel: what the request came in on, with `close_when_done()` if it can be closed; may be None.
        request: the request, e.g. a completed stream consumer; any object.
    """

    def __init__(self, channel: Any, request: Any) -> None:
        self.channel = channel
        self.request = request

    def service(self) -> None:
        """Do the work. Called on a worker thread, once.

        Raises:
            NotImplementedError: the subclass has no `service`.
        """
        raise NotImplementedError(f"{type(self).__qualname__} must define service()")

    def cancel(self) -> None:
        """Called instead of `service`: closes the channel when its output is sent. Any thread; never
        blocks.
        """
        close_when_done = getattr(self.channel, "close_when_done", None)
        if close_when_done is not None:
            close_when_done()

    def defer(self) -> None:
        """Called in the thread that adds the task, just before it is queued: nothing."""


_METHODS = ("service", "cancel", "defer")

task_classes: set[type] = set()
"""Classes whose objects are tasks, as seen lately: asking each task anew costs more than queueing it."""

_MAX_TASK_CLASSES = 1000


plain_task_classes: set[Any] = set()
"""Subclasses of `Task`, as seen lately, in which an object is made and deferred as in `Task` itself."""


_looked_at: set[Any] = set()


def note_if_plain(task_class: Any) -> None:
    """Put a class among the plain ones if it is one. What is put into the class later is not seen."""
    if type(task_class) is not type or task_class in _looked_at:
        return
    for known in (_looked_at, plain_task_classes):
        if len(known) >= _MAX_TASK_CLASSES:
            known.clear()
    _looked_at.add(task_class)
    if (
        issubclass(task_class, Task)
        and task_class.__new__ is object.__new__
        and task_class.__init__ is Task.__init__
        and task_class.__setattr__ is object.__setattr__
        and task_class.defer is Task.defer
    ):
        plain_task_classes.add(task_class)


def check_task(task: object) -> None:
    """Raise unless `task` has the three methods of ITask."""
    if type(task) in task_classes:
        return
    if task is None:
        raise ValueError("the task must not be None")
    missing = [method for method in _METHODS if not has_method(task, method)]
    if missing:
        raise TypeError(
            f"a task needs {', '.join(f'{method}()' for method in missing)}, which {safe_repr(task)} lacks"
        )
    if not isinstance(task, type) and all(
        isinstance(getattr(type(task), method, None), FunctionType) for method in _METHODS
    ):
        if len(task_classes) >= _MAX_TASK_CLASSES:
            task_classes.clear()
        task_classes.add(type(task))


def has_method(thing: object, name: str) -> bool:
    """Whether `thing.name` can be called; not so for a class that nobody has made an object of."""
    method = getattr(thing, name, None)
    return callable(method) and not (isinstance(thing, type) and isinstance(method, FunctionType))
