"""Decoders made quicker: pictures with their channels side by side, and the network compiled.

Both round otherwise than the decoder as it is, and are part of the numerics fingerprint. Parameters keep their names.
Knows the decoders' networks, no stream.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from models.compiling import Compiler
from models.pieces import Decoding
from models.refined_codec import RefinedCodec
from models.tiny_decoder import TinyDecoder
from models.vae import LinearCodec

_LAYOUTS: Final[Mapping[int, torch.memory_format]] = {4: torch.channels_last, 5: torch.channels_last_3d}


def hasten(decoder: Decoding, *, channels_last: bool, compiler: Compiler | None) -> None:
    """In place. The linear codec is one matrix product, for which there is nothing to be done."""
    network = network_of(decoder)
    if network is None:
        return
    if channels_last:
        for weight in network.parameters():
            layout = _LAYOUTS.get(weight.ndim)
            if layout is not None:
                weight.data = weight.data.contiguous(memory_format=layout)
    if compiler is not None:
        compiler.module(network)


def network_of(decoder: Decoding) -> nn.Module | None:
    """What turns one latent frame into pixels; None where there is no network."""
    match decoder:
        case RefinedCodec():
            return decoder.network
        case TinyDecoder():
            return decoder.decoder
        case LinearCodec():
            return None
        case _:
            network: nn.Module = decoder.model.decoder
            return network
