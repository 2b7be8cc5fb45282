"""``fetchline list``, ``show`` and ``plugins``: what there is."""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from fetchline.cli.common import common_options
from fetchline.cli.completion import fetcher_names
from fetchline.cli.text import columns, one_line, table

if TYPE_CHECKING:
    from fetchline._plugin import PluginInfo
    from fetchline.fetchers import Fetcher

__all__ = ["list_", "plugins", "show"]


@click.command("list")
@common_options
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List fetchers; of plugins, the names they may register, unimported."""
    from fetchline.catalog import catalog
    from fetchline.cli.apps import try_apps
    from fetchline.registry import default

    problems = list(try_apps(ctx))
    rows = [(name, _first_line(fetcher), ".".join(fetcher.origin)) for name, fetcher in default.items()]
    rows += [
        (f"{plugin.name}.*", one_line(plugin.summary), f"{_provider(plugin)}, not imported")
        for plugin in catalog().plugins()
        if plugin.kind == "plugin" and plugin.status == "installed"
    ]
    if rows:
        click.echo(
            table(
                ("name", "what it is", "from"), [(n, what[:60], origin) for n, what, origin in sorted(rows)]
            )
        )
    elif not problems:
        click.echo(
            "no fetchers: name the modules that define them, by --app or [tool.fetchline] apps", err=True
        )
    for problem in problems:
        click.echo(f"fetchline: {one_line(problem.message)}", err=True)
    ctx.exit(1 if problems else 0)


@click.command()
@click.argument("name", shell_complete=fetcher_names)
@common_options
@click.pass_context
def show(ctx: click.Context, name: str) -> None:
    """Show a fetcher: its signature, policies, origin and documentation."""
    from fetchline.cli.apps import find_fetcher

    fetcher = find_fetcher(ctx, name)
    function = fetcher.function
    facts = {
        "call": f"{'async ' if fetcher.is_async else ''}{fetcher.origin[1]}{_signature(function)}",
        "from": ".".join(fetcher.origin) + _line_of(function),
        **_policies(fetcher),
    }
    click.echo(fetcher.name)
    width = columns(sys.stdout)
    for fact, value in facts.items():
        line = f"  {fact:<10}  {value}"
        click.echo(
            line if width is None else "\n".join(textwrap.wrap(line, width, subsequent_indent=" " * 14))
        )
    text = inspect.getdoc(function)
    if text:
        click.echo(f"\n{text}")


@click.command()
@common_options
def plugins() -> None:
    """List plugins and what they provide; nothing installed is imported."""
    from fetchline.catalog import catalog
    from fetchline.cli.plugged import plugin_commands

    rows = [(p.name, p.kind, p.provider, p.version, p.status) for p in catalog().plugins()]
    rows += [(c.name or "", "command", c.provider, c.version, c.status) for c in plugin_commands().values()]
    click.echo(table(("name", "kind", "provider", "version", "status"), rows))


def _first_line(fetcher: Fetcher[Any, Any, Any]) -> str:
    return (inspect.getdoc(fetcher.function) or "").partition("\n")[0]


def _provider(plugin: PluginInfo) -> str:
    return f"{plugin.provider} {plugin.version}".rstrip()


def _line_of(function: Any) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"


def _policies(fetcher: Fetcher[Any, Any, Any]) -> dict[str, str]:
    """The policies that were declared, as one writes them."""
    from fetchline.fetchers import Policies

    plain, out = Policies(), {}
    for name in Policies.__dataclass_fields__:
        value = getattr(fetcher.policies, name)
        if value != getattr(plain, name):
            out[name] = f"{value:g} s" if name == "timeout" else _written(value)
    return out


def _written(value: Any) -> str:
    """A policy as one writes it, without what it does not say."""
    from fetchline.fetchers import shown_as
    from fetchline.retry import Try

    if isinstance(value, Try):
        said = {
            name: getattr(value, name)
            for name, field in Try.__dataclass_fields__.items()
            if name == "retry" or getattr(value, name) != field.default
        }
        return f"Try({', '.join(f'{name}={_written(each)}' for name, each in said.items())})"
    return getattr(value, "rates", None) or (value if isinstance(value, str) else shown_as(value))


class _Bare:
    """An annotation that is text, shown without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature(function: Any) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins have none
        return "(...)"

    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    parameters = [p.replace(annotation=bare(p.annotation)) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=bare(signature.return_annotation)))
