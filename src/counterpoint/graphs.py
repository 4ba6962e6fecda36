"""A module as a file that needs none of our code: ONNX or torch.export, kept where it answers as the module does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Format = Literal["onnx", "torch"]
Way = Literal["dynamo", "tracing"]
Shapes = tuple[tuple[str | int, ...], ...]
"""A shape an input: numbers for what is fixed, names for what is not."""

SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
NEEDED: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "torch": ()}
OPSET = 18
LARGEST = 1_800_000_000
"""Bytes of weights that still go into the ONNX file itself; protobuf ends at 2 GiB."""


class Ports(NamedTuple):
    """How inputs and outputs of a module are called, and the shapes of the inputs."""

    inputs: tuple[str, ...]
    shapes: Shapes
    outputs: tuple[str, ...]


def lacking(packages: Sequence[str]) -> list[str]:
    """Those of some packages that are not installed."""
    return [name for name in packages if find_spec(name) is None]


def write(module: nn.Module, inputs: Sequence[Tensor], ports: Ports, path: Path, form: Format, way: Way) -> None:
    """Write a module as ONNX or as a program of torch.export.

    Args:
        module: in evaluation mode; takes tensors one by one, returns as many as there are outputs.
        inputs: to follow it with; where a shape has a name, a size that is neither 0 nor 1.
        ports: names, and which sizes may differ from those of ``inputs``.
        path: the file.
        form: of the file.
        way: how the module is followed: by torch.export, or by the older tracing, which writes ONNX alone.
    """
    if way == "tracing":
        assert form == "onnx"
        axes = {name: dict(_named(shape)) for name, shape in zip(ports.inputs, ports.shapes, strict=True)}
        said = {"input_names": [*ports.inputs], "output_names": [*ports.outputs], "opset_version": OPSET}
        torch.onnx.export(module, (*inputs,), str(path), dynamic_axes=axes, dynamo=False, **said)  # type: ignore[arg-type]
        return
    dynamic = tuple({at: torch.export.Dim.DYNAMIC for at, _ in _named(shape)} for shape in ports.shapes)
    program = torch.export.export(_Flat(module), (*inputs,), dynamic_shapes=(dynamic,), strict=False)
    if form == "torch":
        torch.export.save(program, path)
        return
    weights = sum(one.numel() * one.element_size() for one in program.state_dict.values())
    torch.onnx.export(
        program,
        (*inputs,),
        str(path),
        input_names=[*ports.inputs],
        output_names=[*ports.outputs],
        opset_version=OPSET,
        dynamo=True,
        external_data=weights > LARGEST,
        verbose=False,
    )


class _Flat(nn.Module):
    """A module whose arguments are one list, whatever it calls them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *flat: Tensor) -> tuple[Tensor, ...]:
        found = self.module(*flat)
        return (found,) if isinstance(found, Tensor) else found


class Runner:
    """What a written file answers."""

    def __init__(self, path: Path, ports: Ports) -> None:
        """Open the file at ``path``, whose inputs and outputs are called as in ``ports``."""
        self._ports, self._program, self._session = ports, None, None
        if path.suffix == SUFFIX["torch"]:
            self._program = torch.export.load(path).module()
            return
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Sequence[Tensor]) -> list[NDArray[Any]]:
        """Outputs for inputs in the order of the ports."""
        if self._program is not None:
            return [found.detach().numpy() for found in self._program(*inputs)]
        assert self._session is not None
        # What the graph does not read it does not ask for.
        asked = {one.name for one in self._session.get_inputs()}
        fed = {name: value.numpy() for name, value in zip(self._ports.inputs, inputs, strict=True) if name in asked}
        found: list[NDArray[Any]] = self._session.run([*self._ports.outputs], fed)
        return found


def kept(path: Path, export: Callable[[], None], differences: Callable[[], float], close: float) -> tuple[float, str]:
    """Export and compare; a file that answers otherwise is removed.

    Args:
        path: what ``export`` writes.
        export: writes it.
        differences: the largest difference between what the file says and what the module says.
        close: the largest that still counts as the same.

    Returns:
        The difference, NaN where there is none, and "", or why no file is left.
    """
    try:
        with quiet():
            export()
            most = differences()
    # What an exporter or a runtime meets that it does not know comes as one of these; a run does not fail by it.
    except _unknown() as error:
        _remove(path)
        return float("nan"), f"it could not be exported: {told(error)}"
    if not most < close:
        _remove(path)
        return most, f"what was exported differs by {most:.2g} from the model"
    return most, ""


def largest(expected: Sequence[Tensor], found: Sequence[NDArray[Any]]) -> float:
    """The largest difference between two lists of arrays of one shape each; infinite where shapes differ."""
    if any(tuple(one.shape) != other.shape for one, other in zip(expected, found, strict=True)):
        return float("inf")
    apart = [np.abs(one.detach().numpy() - other) for one, other in zip(expected, found, strict=True)]
    return max((float(one.max()) for one in apart if one.size), default=0.0)


def told(error: BaseException) -> str:
    """An error of an exporter in a sentence: those that have a known meaning by it, others by their first words."""
    causes = [error]
    while causes[-1].__cause__ is not None and len(causes) < 9:
        causes.append(causes[-1].__cause__)
    text = " ".join(f"{type(one).__name__} {one}" for one in causes)
    for sign, meaning in _MEANINGS.items():
        if sign in text:
            return meaning
    return " ".join(str(causes[-1] if str(causes[-1]).strip() else error).split())[:200]


_MEANINGS = {
    "DataDependent": "a branch or a loop hangs on what the values are, which a graph cannot follow",
    "data-dependent": "a branch or a loop hangs on what the values are, which a graph cannot follow",
}


@contextmanager
def quiet() -> Iterator[None]:
    """No word of the exporters while it lasts: what goes wrong is told by who asked."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        # Some of it is printed.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.inference_mode(False), torch.no_grad():
                yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _unknown() -> tuple[type[Exception], ...]:
    usual = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, AttributeError, LookupError)
    if lacking(["onnxruntime"]):
        return usual
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    unfit = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
    return (*usual, *unfit, state.RuntimeException)


def _named(shape: Sequence[str | int]) -> Iterator[tuple[int, str]]:
    return ((at, size) for at, size in enumerate(shape) if isinstance(size, str))


def _remove(path: Path) -> None:
    for one in (path, path.with_name(path.name + ".data")):
        one.unlink(missing_ok=True)
