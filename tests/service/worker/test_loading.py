"""How the engine is loaded: from flags to settings to what the loader is told, nothing is lost on the way."""

from pathlib import Path

import msgspec
import pytest

from models.adapters import AdapterSource
from models.errors import ConfigError
from service.commands.options import ConfigOptions
from service.commands.serve import config_of
from service.config import ServiceConfig
from service.supervisor import load_settings
from service.worker.settings import LoadSettings
from service.worker.warmup import load_options
from tests.service.worker.fakes import SETTINGS


def test_flags_reach_the_loader(tmp_path: Path) -> None:
    flags = ConfigOptions(
        preset="longlive-1.3b",
        random_weights=True,
        device="cuda:1",
        decoder="full",
        quantize="fp8",
        attention="flash",
        adapter=[f"ink={tmp_path}/ink.pt:0.5", "wash=wash.safetensors"],
        model_dir=tmp_path / "models",
        preset_dir=tmp_path / "presets",
        set=["memory_budget_bytes=1000", "max_sessions=3"],
    )
    config = config_of(flags)
    settings = msgspec.structs.replace(
        SETTINGS,
        loading=load_settings(config),
        memory_budget_bytes=config.memory_budget_bytes,
        max_sessions=config.max_sessions,
        threads=2,
    )
    options = load_options(settings)
    assert (options.device, options.threads, options.kernel, options.random_seed) == ("cuda:1", 2, "flash", 0)
    assert (options.decoder, options.quantize) == ("full", "fp8")
    assert (options.model_dir, options.preset_dir) == (tmp_path / "models", tmp_path / "presets")
    assert options.adapters == (
        AdapterSource("ink", tmp_path / "ink.pt", 0.5),
        AdapterSource("wash", Path("wash.safetensors")),
    )
    assert (options.memory_budget_bytes, options.sessions) == (1000, 3)
    assert options.report is not None


def test_defaults_are_the_preset_as_it_is() -> None:
    loading = load_settings(ServiceConfig())
    assert loading == LoadSettings(device="auto", model_dir=loading.model_dir)
    options = load_options(msgspec.structs.replace(SETTINGS, loading=loading))
    assert (options.random_seed, options.decoder, options.quantize, options.adapters) == (None, None, "none", ())


def test_adapters_may_come_as_one_text() -> None:
    """As they do from the environment."""
    assert ServiceConfig.model_validate({"adapters": "a=1.pt, b=2.pt:0.5"}).adapters == ("a=1.pt", "b=2.pt:0.5")


def test_what_is_no_adapter_is_refused_by_the_worker() -> None:
    settings = msgspec.structs.replace(SETTINGS, loading=LoadSettings(adapters=("ink",)))
    with pytest.raises(ConfigError, match="NAME=PATH"):
        load_options(settings)
