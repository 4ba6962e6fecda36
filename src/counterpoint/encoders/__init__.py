"""One modality in, ``Encoded`` out. Importing the package makes every encoder known to the configuration."""

from counterpoint.encoders import base, frontend, modulation, patch, patchtst, pointwise, resnet

__all__ = ["base", "frontend", "modulation", "patch", "patchtst", "pointwise", "resnet"]
