"""Published models of the ``transformers`` library as encoders: a frozen backbone and a trained projection."""

from counterpoint.encoders.pretrained.audio import ASTEncoder
from counterpoint.encoders.pretrained.base import Inference, Pretrained
from counterpoint.encoders.pretrained.image import DINOv2Encoder
from counterpoint.encoders.pretrained.text import TextEncoder
from counterpoint.encoders.pretrained.video import VJEPA2Encoder

__all__ = ["ASTEncoder", "DINOv2Encoder", "Inference", "Pretrained", "TextEncoder", "VJEPA2Encoder"]
