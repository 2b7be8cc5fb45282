"""Log lines on standard error."""

from __future__ import annotations

import logging

import click

__all__ = ["log_at"]


class _ToStandardError(logging.Handler):
    """Writes where standard error is now, which a test or a bar may have changed."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def _is_news(record: logging.LogRecord) -> bool:
    """The run's last warning says what the command prints anyhow."""
    return not (record.levelno == logging.WARNING and str(record.msg).startswith("run %s of %r:"))


def log_at(level: str | None, ctx: click.Context, *, progress: bool = False) -> None:
    """Log until the command ends.

    Args:
        level: the least level that is shown; None is warnings, without those the command prints itself.
        ctx: its root's end is the end of the logging.
        progress: show the lines of the progress display "log" at any level.
    """
    root, ours = logging.getLogger(), logging.getLogger("fetchline")
    news = logging.getLogger("fetchline.progress")
    before = (root.level, ours.level, news.level)
    handler = next((each for each in root.handlers if isinstance(each, _ToStandardError)), None)
    if handler is None:
        handler = _ToStandardError()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        root.addHandler(handler)
        handler.addFilter(_is_news)

        def restore() -> None:
            root.removeHandler(handler)
            for logger, old in zip((root, ours, news), before, strict=True):
                logger.setLevel(old)

        ctx.find_root().call_on_close(restore)
    if level is not None:
        handler.removeFilter(_is_news)
        root.setLevel(level.upper())
        ours.setLevel(level.upper())
    if progress:
        news.setLevel(min(logging.INFO, news.getEffectiveLevel()))
