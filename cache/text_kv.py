"""The cross-attention keys and values of one prompt, for all layers: made once a prompt, used by every pass.

A stream owns one, allocated at its start and overwritten in place when its text changes. Knows nothing of text.

Legend: L layers, B batch, T text positions, H heads, D width of a head.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TextKeysValues:
    """Keys and values [L, B, T, H, D]."""

    keys_LBTHD: Tensor
    values_LBTHD: Tensor

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.keys_LBTHD[layer], self.values_LBTHD[layer]

    def clone(self) -> "TextKeysValues":
        """A copy with memory of its own."""
        return TextKeysValues(self.keys_LBTHD.clone(), self.values_LBTHD.clone())

    def update(self, other: "TextKeysValues") -> None:
        """Overwrite in place with another prompt's."""
        assert self.keys_LBTHD.shape == other.keys_LBTHD.shape, (self.keys_LBTHD.shape, other.keys_LBTHD.shape)
        self.keys_LBTHD.copy_(other.keys_LBTHD)
        self.values_LBTHD.copy_(other.values_LBTHD)
