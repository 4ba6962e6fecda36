"""Contrastive and multimodal representation learning on sensor data, evaluated honestly."""

__version__ = "0.1.0"
