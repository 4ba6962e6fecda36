"""Encoders: one modality in, ``Encoded`` out. Importing this package makes all of them known to the configuration."""

from counterpoint.encoders import base, frontend, patch, patchtst, resnet

__all__ = ["base", "frontend", "patch", "patchtst", "resnet"]
