import pytest

from models.errors import ConfigError
from models.load import pick_device
from service.commands.engine import load_engine
from service.commands.options import BenchOptions, GenerateOptions


@pytest.mark.parametrize("device", ["abacus", "cuda:99", ""])
def test_absent_device_is_named(device: str) -> None:
    with pytest.raises(ConfigError, match="expected a device of this machine") as caught:
        pick_device(device)
    assert (caught.value.code, caught.value.field) == ("device_invalid", "device")


@pytest.mark.parametrize("options", [GenerateOptions(random_weights=True), BenchOptions(random_weights=True)])
def test_engine_is_loaded(options: GenerateOptions | BenchOptions) -> None:
    assert load_engine("demo", options).preset.name == "demo"
