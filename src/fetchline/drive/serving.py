"""Which way a worker makes attempts: on its own thread, or in its process, one after another or side by side."""

from __future__ import annotations

from fetchline.drive.source import Source
from fetchline.interfaces import RemoteWorker, Worker

__all__ = ["serve"]


def serve(source: Source, worker: Worker) -> None:
    """Take and make attempts on this thread until the run is over."""
    # A run on threads does without what processes need.
    if not isinstance(worker, RemoteWorker):
        from fetchline.drive.threads import serve_here

        serve_here(source, worker)
    elif source.width == 1:
        from fetchline.drive.lanes import serve_remote

        serve_remote(source, worker)
    else:
        from fetchline.drive.wide import serve_wide

        serve_wide(source, worker, source.width)
