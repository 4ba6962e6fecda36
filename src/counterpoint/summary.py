"""What a model is made of: the parts of model and objective, their sizes, and which of them are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.rates import OBJECTIVE, freeze, part_of
from counterpoint.recipe import Recipe, build
from counterpoint.settings import Optimizer, Part

HEAD = ("part", "class", "parameters", "trained", "MB", "dtype", "state", "rate")


class Size(NamedTuple):
    """What a part weighs: numbers, those of them that are trained, and bytes, buffers included."""

    weights: int
    trained: int
    bytes: int


def summarise(recipe: Recipe) -> str:
    """The parts of what a recipe trains, with their sizes; the data are read for the shapes.

    Args:
        recipe: what to build; nothing of it is trained.

    Raises:
        ValueError: for data that cannot be read, a model that does not fit them, or rates of parts that are not there.
    """
    model, objective = build(recipe, recipe.data(), recipe.seeds[0])
    freeze(model, objective, recipe.optimizer.parts)
    return table(model, objective, recipe.optimizer)


def table(model: Model, objective: Objective, settings: Optimizer) -> str:
    """A Markdown table of parts by the names that ``optimizer.parts`` knows, and what they come to in words.

    Below an encoder, the fusion and the objective stand what they hold, indented; it is part of them.

    Args:
        model: after ``rates.freeze``.
        objective: after it too.
        settings: whose rates are shown, where there are any.
    """
    lines = [_line(name, module, settings) for name, module in parts(model, objective)]
    whole = size(model, objective)
    lines.append(["total", "", f"{whole.weights:,}", f"{whole.trained:,}", _megabytes(whole), "", "", ""])
    columns = len(HEAD) if settings.parts else len(HEAD) - 1
    cells = [line[:columns] for line in [list(HEAD), *lines]]
    widths = [max(len(line[column]) for line in cells) for column in range(columns)]
    cells.insert(1, ["-" * width for width in widths])
    number = {HEAD.index(name) for name in ("parameters", "trained", "MB")}
    text = [
        " | ".join(
            cell.rjust(w) if at in number else cell.ljust(w)
            for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    share = 100 * whole.trained / max(1, whole.weights)
    said = f"{in_words(whole.weights)} parameters, {in_words(whole.trained)} of them trained ({share:.3g} %)"
    return "\n".join([*(f"| {line} |" for line in text), "", f"In all {said}."])


def parts(model: Model, objective: Objective) -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Encoders, fusion and objective, each followed by what it holds, by dotted name."""
    roots: dict[str, nn.Module] = {f"encoders.{name}": encoder for name, encoder in model.encoders.items()}
    for name, root in (roots | {"fusion": model.fusion, OBJECTIVE: objective}).items():
        yield name, root
        yield from ((f"{name}.{key}", child) for key, child in root.named_children() if size(child).weights)
        yield from ((f"{name}.{key}", weight) for key, weight in root.named_parameters(recurse=False))


def size(*modules: nn.Module | nn.Parameter) -> Size:
    """Of modules or weights; what several of them share is counted once."""
    found = nn.ParameterList(one for one in modules if isinstance(one, nn.Parameter))
    whole = nn.ModuleList([*(one for one in modules if isinstance(one, nn.Module)), found])
    weights = list(whole.parameters())
    return Size(
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in weights if weight.requires_grad),
        sum(tensor.nbytes for tensor in (*weights, *whole.buffers())),
    )


def weigh(model: Model, objective: Objective, settings: Optimizer) -> dict[str, int]:
    """What a model weighs, for the card of its run: numbers in model and objective, those trained of all, bytes."""
    freeze(model, objective, settings.parts)
    whole = size(model, objective)
    sides = {"model": size(model).weights, "objective": size(objective).weights}
    return sides | {"trained": whole.trained, "bytes": whole.bytes}


def in_words(count: int) -> str:
    """A number as one says it: ``516.2 million``."""
    for least, word in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if count >= least:
            return f"{count / least:.1f} {word}"
    return str(count)


def _line(name: str, part: nn.Module | nn.Parameter, settings: Optimizer) -> list[str]:
    own = size(part)
    root = name.count(".") == (1 if name.startswith("encoders.") else 0)
    weights = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
    dtypes = dict.fromkeys(str(weight.dtype).removeprefix("torch.") for weight in weights)
    return [
        name if root else f"  {name}",
        _class(part),
        f"{own.weights:,}",
        f"{own.trained:,}",
        _megabytes(own),
        ", ".join(dtypes),
        _state(part, own),
        _rate(name, settings) if own.trained else "",
    ]


def _class(part: nn.Module | nn.Parameter) -> str:
    """Of a list of modules those of its members."""
    if isinstance(part, nn.ModuleList):
        names = [type(module).__name__ for module in part]
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return type(part).__name__


def _state(part: nn.Module | nn.Parameter, own: Size) -> str:
    if not own.weights:
        return "no weights"
    if own.trained:
        return "trained" if own.trained == own.weights else "trained in part"
    rests = isinstance(part, nn.Module) and not any(module.training for module in part.modules())
    return "frozen, eval" if rests else "frozen"


def _rate(name: str, settings: Optimizer) -> str:
    part = settings.parts.get(part_of(name, settings.parts), Part())
    return f"x {part.rate:g}" + (f" from {100 * part.start:g} %" if part.start else "")


def _megabytes(own: Size) -> str:
    return f"{own.bytes / 1e6:,.1f}" if own.bytes >= 1e5 else f"{own.bytes / 1e6:.2g}"
