"""The command: one function a subcommand. Nothing heavy is imported before a subcommand runs."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from counterpoint.cli_data import data_app
from counterpoint.console import Out, Plugins, RecipePath, RunFolder, Set, complain, debug, looked_at

app = typer.Typer(
    name="counterpoint",
    help="Contrastive and multimodal representation learning on sensor data, evaluated honestly.",
    epilog="Exit codes: 0 done; 1 the data or the recipe cannot be used; 2 wrong usage; 130 and 143 stopped "
    "by Ctrl-C and SIGTERM after saving, run the same command to go on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.add_typer(data_app, name="data")
model_app = typer.Typer(no_args_is_help=True, help="Look at what a recipe builds, and make what it is tried on.")
app.add_typer(model_app, name="model")


@app.callback()
def _options(
    tracebacks: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the arithmetic; 0 leaves it to PyTorch.")] = 0,
) -> None:
    debug(tracebacks)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("counterpoint").setLevel(logging.INFO)
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)


@app.command(epilog="Example: counterpoint demo runs/demo")
@complain
def demo(folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("runs/demo")) -> None:
    """Simulate a fleet of bearings, train and judge an encoder on it, and write a report."""
    from counterpoint import start

    print(start.demo(folder))


@app.command(epilog="Example: counterpoint check recipes/cwru.yaml")
@complain
def check(recipe: RecipePath, set_: Set = [], plugin: Plugins = []) -> None:  # noqa: B006 - typer copies
    """Read recipe and data, build the model, and say what is wrong, before any step is taken."""
    looked_at(recipe)
    from counterpoint import recipe as recipes
    from counterpoint import run

    print(run.check(recipes.read(recipe, set_, plugin)))


@app.command(epilog="Example: counterpoint train recipes/cwru.yaml --set seeds=[0] --out runs/quick")
@complain
def train(
    recipe: RecipePath,
    out: Out = None,
    set_: Set = [],  # noqa: B006 - typer copies
    plugin: Plugins = [],  # noqa: B006 - typer copies
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a run exists.")] = False,
) -> None:
    """Train, evaluate and report. Run again after an interruption, it goes on where it stood."""
    looked_at(recipe)
    from counterpoint import recipe as recipes
    from counterpoint import run

    folder = out or Path("runs") / recipe.stem
    print(run.train(recipes.read(recipe, set_, plugin), folder, overwrite=overwrite))


@app.command(epilog="Example: counterpoint evaluate runs/cwru")
@complain
def evaluate(
    run_folder: RunFolder,
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Embed and score a trained run again, and write its report anew."""
    from counterpoint import run

    print(run.evaluate(run_folder, plugin))


@app.command(epilog="Example: counterpoint report runs/cwru")
@complain
def report(run_folder: RunFolder) -> None:
    """Write report, model card and tables of a run anew from its folder; neither data nor model is read."""
    from counterpoint import run

    print(f"Report: {run.report(run_folder)}")


@app.command(epilog="Example: counterpoint compare runs/spectra runs/table --out runs/compared")
@complain
def compare(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option("--out", help="A folder for tables, pictures and comparison.html.")] = Path(
        "comparison"
    ),
) -> None:
    """Compare runs on the test rows they share: scores, paired tests by group, pictures, one page."""
    from counterpoint import comparison

    print(comparison.compare(run_folders, out))


@app.command(epilog="Example: counterpoint embed runs/cwru --out embeddings.parquet")
@complain
def embed(
    run_folder: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="A Parquet file.")] = Path("embeddings.parquet"),
    set_: Set = [],  # noqa: B006 - typer copies
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Embed recordings with a trained encoder; --set data.* points it at others than its own."""
    from counterpoint import run

    print(run.embed(run_folder, out, set_, plugin))


@app.command(epilog="Example: counterpoint attention runs/weld --out attention.parquet")
@complain
def attention(
    run_folder: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="A Parquet file.")] = Path("attention.parquet"),
    split: Annotated[Literal["train", "valid", "test", "all"], typer.Option(help="Whose rows.")] = "test",
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Write what the fusion looks at: its weights for every recording, modality and query."""
    from counterpoint import attention as weights

    print(weights.attention(run_folder, out, split, plugin))


@app.command(epilog="Example: counterpoint export runs/weld --out exported/weld")
@complain
def export(
    run_folder: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="A folder; RUN/exported by default.")] = None,
    format_: Annotated[Literal["onnx", "torch"], typer.Option("--format", help="Of the files.")] = "onnx",
    fold: Annotated[str, typer.Option(help="Whose model; the first by default.")] = "",
    seed: Annotated[int | None, typer.Option(help="Whose model; the first by default.")] = None,
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Write the encoders as ONNX or torch.export files that were checked against the model, with a manifest."""
    from counterpoint.export import export as write

    print(write(run_folder, out or run_folder / "exported", format_, fold, seed, plugin))


@app.command(epilog="Example: counterpoint attribute runs/spectra --rows 64")
@complain
def attribute(
    run_folder: RunFolder,
    rows: Annotated[int, typer.Option(help="Test rows, as many of each class as there are.")] = 32,
    steps: Annotated[int, typer.Option(help="Points of the way from the baseline to a row.")] = 64,
    baseline: Annotated[Literal["zero", "mean"], typer.Option(help="Where the way begins.")] = "zero",
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Tell which inputs predicted probabilities hang on, by integrated gradients, and write the report anew."""
    from counterpoint import explain, run
    from counterpoint.evaluate.attributing import Attributions

    settings = Attributions(rows=rows, steps=steps, baseline=baseline)
    print(explain.attribute(run_folder, settings, plugin))
    if (run_folder / "scores.json").is_file():
        print(f"Report: {run.report(run_folder)}")


@model_app.command(epilog="Example: counterpoint model summary recipes/cwru.yaml")
@complain
def summary(recipe: RecipePath, set_: Set = [], plugin: Plugins = []) -> None:  # noqa: B006 - typer copies
    """List the parts of model and objective: class, size, dtype, and which are trained or frozen."""
    looked_at(recipe)
    from counterpoint import recipe as recipes
    from counterpoint import summary as summaries

    print(summaries.summarise(recipes.read(recipe, set_, plugin)))


@model_app.command("stand-ins", epilog="Example: counterpoint model stand-ins models")
@complain
def stand_ins(destination: Annotated[Path, typer.Argument(help="Folder to write to.")]) -> None:
    """Write small RANDOM models of the real classes, to try a recipe of published backbones without a download."""
    from counterpoint.encoders.pretrained.stand_ins import save

    print("\n".join(f"wrote {folder}: random weights" for folder in save(destination)))


@app.command(epilog='Example: counterpoint search runs/radar_text --text "someone is boxing"')
@complain
def search(
    run_folder: RunFolder,
    text: Annotated[str, typer.Option("--text", help="A sentence.")] = "",
    like: Annotated[str, typer.Option("--like", help="An id of the index, or a file of a clip.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many answers.")] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="The picture; in RUN/search by default.")] = None,
    plugin: Plugins = [],  # noqa: B006 - typer copies
) -> None:
    """Find test recordings of a run by a sentence, or by one of them, with a picture of the best."""
    from counterpoint.search import answer

    print(answer(run_folder, text=text, like=like, k=k, out=out, plugins=plugin))


@app.command(epilog="Example: counterpoint show InfoNCE")
@complain
def show(
    name: Annotated[str, typer.Argument(help="A class of a recipe, or a role; without it, all.")] = "",
) -> None:
    """Explain a class that recipes can name: its arguments, their defaults, its source."""
    from counterpoint import config
    from counterpoint import recipe as recipes

    recipes.import_roles()
    if name:
        print(config.describe(config.find(name, recipes.ROLES)))
        return
    for role in recipes.ROLES:
        print(f"{role.__name__}: {', '.join(config.choices(role))}")


@app.command(epilog="Example: counterpoint schema > recipe.schema.json")
@complain
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete and check YAML."""
    from counterpoint import config
    from counterpoint import recipe as recipes

    recipes.import_roles()
    print(json.dumps(config.schema(recipes.Recipe), indent=2))


def main() -> None:
    """Entry point of the command."""
    app()
