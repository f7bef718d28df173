"""What an extractor is, as plain data: what is kept of it, and what stands in a file's spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cxrfeat.framing import Framing

# Raised when the same image would get another embedding than before.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True)
class Description:
    """What an extractor is, whatever runs it.

    Attributes
    ----------
    backbone : str
    weights_name : str
    image_size : int
        Side of the images, in pixels.
    dimension : int
        Length of an embedding.
    spec : dict
        What decides the meaning of the embeddings, but for how images are read.
    notes : tuple of str
        What its user should know about how it runs.
    crop, resize : str
        As `cxrfeat.framing.Framing` takes them.
    """

    backbone: str
    weights_name: str
    image_size: int
    dimension: int
    spec: dict[str, Any]
    notes: tuple[str, ...] = ()
    crop: str = "none"
    resize: str = "bilinear"

    @property
    def framing(self) -> Framing:
        """What of a radiograph the network sees."""
        return Framing(self.image_size, self.crop, self.resize)

    @property
    def is_control(self) -> bool:
        """Whether the weights are random: a control, not a pretrained extractor."""
        return self.weights_name.startswith("random")
