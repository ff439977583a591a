import pytest

from service.commands.engine import check_device, load_engine
from service.commands.options import BenchOptions, GenerateOptions, OptionError


@pytest.mark.parametrize("device", ["abacus", "cuda:99", ""])
def test_absent_device_is_named(device: str) -> None:
    with pytest.raises(OptionError, match="expected a device of this machine") as caught:
        check_device(device)
    assert (caught.value.code, caught.value.field) == ("device_invalid", "device")


@pytest.mark.parametrize("options", [GenerateOptions(random_weights=True), BenchOptions(random_weights=True)])
def test_engine_is_loaded(options: GenerateOptions | BenchOptions) -> None:
    check_device("cpu")
    assert load_engine("demo", options).preset.name == "demo"
