"""Settings: where a value comes from, what is refused, and that each one is documented."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import ServiceConfig, load_config, model_folder, store_folder
from service.errors import ConfigError

README = Path(__file__).parents[2] / "service" / "README.md"


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    file = tmp_path / "longtake.toml"
    file.write_text('port = 1\nmax_sessions = 1\nallowed_origins = ["https://a.example"]\n', encoding="utf-8")
    return file


def test_flags_go_before_environment_before_file_before_default(settings_file: Path) -> None:
    environment = {"LONGTAKE_PORT": "2", "LONGTAKE_MAX_SECONDS": "2.5", "PORT": "9"}
    config = load_config({"port": 3, "host": None}, settings_file, environment=environment)
    assert (config.port, config.max_seconds, config.max_sessions, config.host) == (3, 2.5, 1, "127.0.0.1")
    assert load_config(None, settings_file, environment=environment).port == 2
    assert load_config(None, settings_file, environment={}).port == 1
    assert load_config(environment={}) == ServiceConfig()


def test_the_environment_can_name_the_file(settings_file: Path) -> None:
    assert load_config(environment={"LONGTAKE_CONFIG": str(settings_file)}).port == 1


def test_a_list_is_separated_by_commas_in_the_environment() -> None:
    config = load_config(environment={"LONGTAKE_ALLOWED_ORIGINS": "https://a.example, https://b.example"})
    assert config.allowed_origins == ("https://a.example", "https://b.example")


def test_an_unknown_name_is_an_error_wherever_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "longtake.toml"
    file.write_text("prot = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown setting prot in file .*longtake\.toml; expected one of host,"):
        load_config(file=file, environment={})
    with pytest.raises(ConfigError, match="unknown setting prot in environment"):
        load_config(environment={"LONGTAKE_PROT": "1"})
    with pytest.raises(ConfigError, match="unknown setting prot in flags"):
        load_config({"prot": 1}, environment={})
    with pytest.raises(ValidationError, match="prot"):
        ServiceConfig.model_validate({"prot": 1})


def test_a_variable_for_the_tests_is_not_a_setting() -> None:
    assert load_config(environment={"LONGTAKE_REFERENCE": "somewhere"}) == ServiceConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", "65536"), ("port", "http"), ("max_seconds", "nan"), ("start_timeout", "0"), ("missing_origin", "never")],
)
def test_a_wrong_value_is_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} is '{value}'"):
        load_config(environment={f"LONGTAKE_{name.upper()}": value})


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        load_config(file=tmp_path / "none.toml", environment={})
    broken = tmp_path / "broken.toml"
    broken.write_text("port = = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        load_config(file=broken, environment={})


def test_folders_lie_with_the_users_data_unless_a_setting_says_otherwise() -> None:
    config, environment = ServiceConfig(), {"XDG_DATA_HOME": "/data"}
    assert store_folder(config, environment=environment) == Path("/data/longtake")
    assert model_folder(config, environment=environment) == Path("/data/longtake/models")
    home = Path.home() / ".local" / "share" / "longtake" / "models"
    assert model_folder(config, environment={"XDG_DATA_HOME": "relative"}) == home
    given = load_config(environment={"LONGTAKE_MODEL_DIR": "/m", "LONGTAKE_PRESET_DIR": "/p"})
    assert (model_folder(given), given.preset_dir) == (Path("/m"), Path("/p"))


def test_settings_do_not_change() -> None:
    config = ServiceConfig(port=1)
    with pytest.raises(ValidationError, match="frozen"):
        config.port = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ServiceConfig.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    field = ServiceConfig.model_fields[name]
    assert field.description
    section = README.read_text("utf-8").partition("\n## Settings\n")[2]
    row = next((line for line in section.splitlines() if line.startswith(f"| `{name}` |")), "")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [f"`{name}`", _shown(field.default), field.description]


def _shown(default: object) -> str:
    if default is None:
        return "`none`"
    if isinstance(default, bool):
        return "`true`" if default else "`false`"
    if isinstance(default, tuple):
        return f"`{list(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
