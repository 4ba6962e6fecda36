"""One modality in, ``Encoded`` out. Importing the package makes every encoder known to the configuration."""

from counterpoint.encoders import (
    base,
    event_statistics,
    frontend,
    modulation,
    parallel,
    patch,
    patchtst,
    pointwise,
    pretrained,
    radar,
    resnet,
    sensor,
    set_sequence,
    sets,
    variables,
)

__all__ = [
    "base",
    "event_statistics",
    "frontend",
    "modulation",
    "parallel",
    "patch",
    "patchtst",
    "pointwise",
    "pretrained",
    "radar",
    "resnet",
    "sensor",
    "set_sequence",
    "sets",
    "variables",
]
