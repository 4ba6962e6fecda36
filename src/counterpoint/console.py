"""What the subcommands share: options, and errors of the user's data and recipe as messages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

P = ParamSpec("P")

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Set = Annotated[list[str], typer.Option("--set", metavar="A.B=VALUE", help="Override one value of the recipe.")]
Plugins = Annotated[
    list[str],
    typer.Option("--plugin", metavar="MODULE", help="Import a module with encoders or readers of yours."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; runs/<name of the recipe> by default.")]

_debug = False


def debug(wanted: bool) -> None:
    """Show tracebacks from now on, or do not."""
    global _debug
    _debug = wanted


def complain(command: Callable[P, None]) -> Callable[P, None]:
    """Errors of the user's data and recipe are messages; the traceback comes with --debug."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, ModuleNotFoundError) as error:
            if _debug:
                raise
            print(f"counterpoint: {error}", file=sys.stderr)
            raise typer.Exit(1) from error

    return wrapped


def looked_at(path: Path) -> None:
    """Raise what is wrong with the YAML of a recipe at once, before anything heavy is imported."""
    from counterpoint import config

    config.read_document(path)
