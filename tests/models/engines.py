"""Small engines with random weights and the real layouts, for tests: a causal decoder, any window, any prediction."""

from dataclasses import dataclass, field

import torch

from cache.window import WindowSpec
from models.config import Prediction, SamplerConfig, TransformerConfig, VideoConfig
from models.generator import Generator
from models.journal import Journal, WeightedPrompt
from models.parts import assemble
from models.passes import CachedPasses
from models.pieces import randomise
from models.presets import Licence, Preset
from models.stream import Block, Stream
from models.text import WordEncoder, WordEncoderConfig
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.transformer import Transformer
from models.vae import StreamDecoder

WORDS = ("a", "red", "blue", "green", "ball", "box", "sea", "snow", "forest", "city", "night", "day")


def small_preset(
    window: WindowSpec | None = None,
    *,
    layers: int = 2,
    prediction: Prediction = "flow",
    steps: tuple[int, ...] = (1000, 500),
) -> Preset:
    """16x16 pixels, 2x2 latents of 4 channels, one token a latent frame."""
    return Preset(
        name="small",
        title="small",
        transformer=TransformerConfig(
            dim=24,
            ffn_dim=32,
            num_layers=layers,
            num_heads=2,
            text_dim=8,
            text_len=6,
            in_channels=4,
            out_channels=4,
            freq_dim=16,
            prediction=prediction,
        ),
        window=window or WindowSpec(),
        sampler=SamplerConfig(steps=steps, shift=3.0),
        video=VideoConfig(width=16, height=16, fps=16, latent_channels=4),
        decoder="tiny",
        text=WordEncoderConfig(dim=8, text_len=6, heads=2, layers=1),
        dtype="float32",
        licence=Licence(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0", commercial=True),
        suggested_prompts=("a red ball",),
    )


def small_decoder() -> TinyDecoder:
    """Causal, its first latent frame of a scene giving one frame."""
    return TinyDecoder(TinyDecoderConfig(latent_channels=4, widths=(6, 5, 4), head_width=4, blocks_per_stage=1))


def make_generator(preset: Preset | None = None, decoder: StreamDecoder | None = None, *, seed: int = 1) -> Generator:
    preset = preset or small_preset()
    assert preset.text is not None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = Transformer(preset.transformer)
        text = WordEncoder(
            WordEncoderConfig(
                vocabulary=("<pad>", "<unk>", *WORDS), dim=preset.text.dim, text_len=preset.text.text_len, heads=2
            )
        )
        decoder = decoder or small_decoder()
        for module in (transformer, text):
            randomise(module)
            module.eval().requires_grad_(False)
        if isinstance(decoder, torch.nn.Module):
            decoder.eval().requires_grad_(False)
    video = preset.video
    passes = CachedPasses(transformer, preset.window, height=video.latent_height, width=video.latent_width)
    return Generator(
        assemble(
            preset,
            passes,
            text_encoder=text,
            decoder=decoder,
            fingerprint="test",
        )
    )


def prompts(*texts: str) -> tuple[WeightedPrompt, ...]:
    return tuple(WeightedPrompt(text) for text in texts)


@dataclass(slots=True)
class Take:
    """What a run of a stream left behind."""

    stream: Stream
    blocks: list[Block] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return self.stream.journal

    @property
    def latents(self) -> list[torch.Tensor]:
        """What is kept of each block for a restore."""
        return [block.kept for block in self.blocks]

    @property
    def hashes(self) -> list[str]:
        return [block.frames_sha256 for block in self.blocks]


def make_blocks(generator: Generator, stream: Stream, count: int) -> list[Block]:
    made = []
    for _ in range(count):
        block = generator.step(stream)
        assert block is not None
        made.append(block)
    return made
