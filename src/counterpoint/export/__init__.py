"""Encoders of a run as files that need none of our code, checked against the model they came from."""

from counterpoint.export.command import export

__all__ = ["export"]
