"""Which channels hold tasks that wait: for the end of a server that cannot wait for what runs before them.

A channel's tasks wait inside it, and whoever runs the channel runs them. If that worker never comes back, nobody
else would give them their outcome. So a channel stands here from its first `queue_task` until nothing waits in
it any more. Must not know: how a channel runs its tasks. Source: the law that every queued task gets exactly one
of `service()` and `cancel()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wiretask.channels import ServerChannel
    from wiretask.server_life import ServerLife

__all__ = ["cancel_all_of", "forget_all", "look_again", "note"]

_channels: dict[int, ServerChannel] = {}
"""By `id`, as a channel may define what equality is."""


def note(channel: ServerChannel) -> None:
    """A task was put into the channel. Any thread."""
    _channels[id(channel)] = channel


def look_again(channel: ServerChannel) -> None:
    """The channel may be empty now; another thread may put a task into it at any moment."""
    if _channels.pop(id(channel), None) is not None and channel._tasks:
        _channels[id(channel)] = channel


def cancel_all_of(server: ServerLife) -> None:
    """Cancel what waits in a stopped server's channels."""
    for channel in list(_channels.values()):
        if _server_of(channel) is server:
            channel._cancel_tasks()
            look_again(channel)


def forget_all() -> None:
    """In the child of a fork: the tasks are the parent's, and it is for the parent to serve or cancel them."""
    _channels.clear()


def _server_of(channel: ServerChannel) -> ServerLife | None:
    try:
        return channel.server
    except ReferenceError:
        return None
