"""Runs a reference case through this project's transformer, cache and sampler and measures the deviations.

A case is `NAME.json` (sizes, window policy, schedule, switches) beside `NAME.safetensors` (weights, prompts, noise
and, for every block and step, what the published code computed from them). Cases are data: other sizes, windows,
block lengths, batch sizes and switch points are other files. A tensor that is missing or of another shape is an
error that names it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cache.kv import KVCache
from cache.recache import rebuild
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, Positions, SinkPolicy, WindowSpec, WindowState
from models.config import SamplerConfig, TransformerConfig
from models.errors import WeightsError
from models.fill import load_into
from models.hot import Forms, HotPath
from models.passes import CachedPasses
from models.sampler import Schedule, add_noise, make_schedule, to_x0
from models.transformer import Transformer
from models.weights import read_safetensors

Quantity = Literal["velocity", "next_input", "latent"]


@dataclass(frozen=True, slots=True)
class Deviation:
    """The largest absolute difference of one tensor of the case from ours."""

    name: str
    quantity: Quantity
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCase:
    """One case, read and checked. `tensors` raise WeightsError by name where missing or misshapen."""

    name: str
    transformer: TransformerConfig
    window: WindowSpec
    sampler: SamplerConfig
    sink: SinkPolicy
    height: int
    width: int
    blocks: int
    switches: tuple[int, ...]
    batch: int
    tensors: "NamedTensors"

    @property
    def block_shape(self) -> tuple[int, ...]:
        return (self.batch, self.window.block_frames, self.transformer.in_channels, self.height, self.width)


@dataclass(frozen=True, slots=True)
class NamedTensors:
    """Tensors of a file, asked for by name and shape."""

    source: Path
    tensors: Mapping[str, Tensor]

    def get(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.tensors.get(name)
        if found is None:
            raise WeightsError(f"{self.source}: expected {name!r} of shape {shape}, there is none", field=name)
        if tuple(found.shape) != shape:
            message = f"{self.source}: expected {name!r} of shape {shape}, found {tuple(found.shape)}"
            raise WeightsError(message, field=name)
        return found

    def to(self, device: torch.device | str) -> "NamedTensors":
        return NamedTensors(self.source, {name: tensor.to(device) for name, tensor in self.tensors.items()})

    def weights(self) -> dict[str, Tensor]:
        prefix = "weights."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def list_cases(directory: Path) -> list[str]:
    """Names of the cases in a directory."""
    return sorted(path.stem for path in directory.glob("*.json") if path.with_suffix(".safetensors").is_file())


def read_case(directory: Path, name: str) -> ReferenceCase:
    """Read one case. Raises WeightsError for what is missing or does not fit."""
    described: dict[str, Any] = json.loads((directory / f"{name}.json").read_text())
    source = directory / f"{name}.safetensors"
    tensors = NamedTensors(source, read_safetensors(source).tensors)
    try:
        return _build_case(name, described, tensors)
    except KeyError as error:
        raise WeightsError(f"{directory / name}.json: expected a key {error}", field=str(error)) from None


def read_transformer_config(config: Mapping[str, Any]) -> TransformerConfig:
    """The sizes in a case's `config`, which has the names of the published code. Raises KeyError."""
    return TransformerConfig(
        dim=config["dim"],
        ffn_dim=config["ffn_dim"],
        num_layers=config["num_layers"],
        num_heads=config["num_heads"],
        text_dim=config["text_dim"],
        text_len=config["text_len"],
        in_channels=config["in_dim"],
        out_channels=config["out_dim"],
        freq_dim=config["freq_dim"],
        patch_size=tuple(config["patch_size"]),
        eps=config["eps"],
    )


def _build_case(name: str, described: dict[str, Any], tensors: NamedTensors) -> ReferenceCase:
    config, policy, case = described["config"], described["policy"], described["case"]
    prompt = tensors.tensors.get("prompt.0")
    whole = policy["window_frames"] < 0
    positions: Positions = "relative" if policy["rope"] == "relative" else "absolute"
    return ReferenceCase(
        name=name,
        transformer=read_transformer_config(config),
        window=WindowSpec(
            window_frames=None if whole else policy["window_frames"],
            sink_frames=policy["sink_frames"],
            block_frames=policy["frames_per_block"],
            positions=positions,
            capacity_frames=case["num_blocks"] * policy["frames_per_block"] if whole else None,
        ),
        sampler=SamplerConfig(
            steps=tuple(case["denoising_steps"]),
            shift=config["timestep_shift"],
            context_timestep=case["context_timestep"],
        ),
        sink=policy["sink_on_switch"],
        height=case["latent_height"],
        width=case["latent_width"],
        blocks=case["num_blocks"],
        switches=tuple(case["switch_at_block"]),
        batch=1 if prompt is None else prompt.shape[0],
        tensors=tensors,
    )


@dataclass(slots=True)
class _Run:
    """A case in the making."""

    case: ReferenceCase
    passes: CachedPasses
    cache: KVCache
    schedule: Schedule
    window: WindowState
    latents: list[Tensor] = field(default_factory=list)

    def frames(self, first: int, count: int) -> Tensor:
        return torch.cat(self.latents, dim=1)[:, first : first + count]

    def text(self, prompt: int) -> TextKeysValues:
        config, case = self.case.transformer, self.case
        shape = (case.batch, config.text_len, config.text_dim)
        return self.passes.transformer.embed_text(case.tensors.get(f"prompt.{prompt}", shape))

    def switch(self, text: TextKeysValues) -> None:
        self.window, plan = rebuild(self.window, "recache", sink=self.case.sink)
        if plan is not None:
            self._write(plan, text)

    def _write(self, plan: PassPlan, text: TextKeysValues) -> None:
        time = self.passes.embed_timestep(self.schedule.context_timestep)
        self.passes.rebuild(self.cache, plan, frames=self.frames, text=text, time=time)

    def make_block(self, block: int, text: TextKeysValues) -> Iterator[Deviation]:
        case, shape = self.case, self.case.block_shape
        plan = self.window.plan_block()
        context = self.passes.prepare(self.cache, plan, text=text)
        x = x0 = case.tensors.get(f"block.{block}.noise", shape)
        for step, sigma in enumerate(self.schedule.sigmas):
            time = self.passes.embed_timestep(self.schedule.timesteps[step])
            velocity = self.passes.run(x, time=time, context=context)
            yield self._deviation(f"block.{block}.step.{step}.velocity", "velocity", velocity)
            x0 = to_x0("flow", velocity, noisy=x, sigma=sigma, data_std=None)
            if step + 1 < self.schedule.steps:
                renoise = case.tensors.get(f"block.{block}.step.{step}.renoise", shape)
                x = add_noise(x0, renoise, self.schedule.sigmas[step + 1])
                yield self._deviation(f"block.{block}.step.{step}.next_input", "next_input", x)
        yield self._deviation(f"block.{block}.latent", "latent", x0)
        self.latents.append(x0)
        self._write(plan, text)
        self.window = self.window.advance()

    def _deviation(self, name: str, quantity: Quantity, ours: Tensor) -> Deviation:
        theirs = self.case.tensors.get(name, tuple(ours.shape))
        return Deviation(name, quantity, (ours - theirs).abs().max().item())


@torch.inference_mode()
def run_case(case: ReferenceCase, *, device: torch.device | str = "cpu", forms: Forms | None = None) -> list[Deviation]:
    """Make all blocks of the case and compare every velocity, next input and latent.

    Args:
        forms: of the hot path; None is the plain one.
    """
    case = replace(case, tensors=case.tensors.to(device))
    transformer = Transformer(case.transformer).to(device)
    load_into(transformer, case.tensors.weights(), source=case.tensors.source)
    hot = None if forms is None else HotPath(transformer, forms)
    passes = CachedPasses(transformer, case.window, height=case.height, width=case.width, hot=hot)
    run = _Run(case, passes, passes.new_cache(case.batch), make_schedule(case.sampler), WindowState(case.window))
    prompt = 0
    text = run.text(prompt)
    deviations: list[Deviation] = []
    for block in range(case.blocks):
        for _ in range(case.switches.count(block)):
            prompt += 1
            text = run.text(prompt)
            run.switch(text)
        deviations.extend(run.make_block(block, text))
    return deviations
