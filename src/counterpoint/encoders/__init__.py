"""One modality in, ``Encoded`` out. Importing the package makes every encoder known to the configuration."""

from counterpoint.encoders import base, frontend, patch, patchtst, resnet

__all__ = ["base", "frontend", "patch", "patchtst", "resnet"]
