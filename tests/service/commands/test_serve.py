import tomllib
from pathlib import Path

import pytest
import typer

from service.commands.options import ConfigOptions, OptionError, ServeOptions
from service.commands.serve import config_of, run_config_show, run_serve, settings_lines, settings_of
from service.config import ServiceConfig
from service.errors import ConfigError


def test_flags_become_settings() -> None:
    config = config_of(ConfigOptions(host="::1", port=0, set=["max_sessions=7", "random_weights=true"]))
    assert (config.host, config.port, config.max_sessions, config.random_weights) == ("::1", 0, 7, True)
    assert config_of(ConfigOptions()).port == ServiceConfig().port


def test_file_is_read_and_flags_go_first(tmp_path: Path) -> None:
    path = tmp_path / "longtake.toml"
    path.write_text("port = 9000\nmax_sessions = 9\n")
    config = config_of(ConfigOptions(port=9001, config=path))
    assert (config.port, config.max_sessions) == (9001, 9)


@pytest.mark.parametrize("pair", ["colour=red", "port=many", "port=", "=1"])
def test_wrong_settings_are_refused(pair: str) -> None:
    with pytest.raises(ConfigError):
        config_of(ConfigOptions(set=[pair]))


def test_settings_need_a_value() -> None:
    with pytest.raises(OptionError, match="NAME=VALUE"):
        settings_of(["port"])
    assert settings_of(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_what_is_shown_means_the_same(tmp_path: Path) -> None:
    config = config_of(ConfigOptions(port=9000, set=["allowed_origins=https://a.example,https://b.example"]))
    text = "\n".join(settings_lines(config))
    path = tmp_path / "shown.toml"
    path.write_text(text)
    assert config_of(ConfigOptions(config=path)) == config
    assert list(tomllib.loads(text)) == [name for name, value in config if value is not None]


def test_what_is_not_set_is_named_all_the_same() -> None:
    lines = list(settings_lines(config_of(ConfigOptions())))
    shown = [line.removeprefix("# ").split(" = ")[0] for line in lines[1::2]]
    assert shown == list(ServiceConfig.model_fields)


def test_settings_are_shown_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    run_config_show(ConfigOptions(port=9000))
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("port = 9000") - 1] == f"# {ServiceConfig.model_fields['port'].description}"


def test_exit_code_of_the_service_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ServiceConfig] = []

    def run_service(config: ServiceConfig) -> int:
        seen.append(config)
        return 3

    monkeypatch.setattr("service.launch.run_service", run_service)
    with pytest.raises(typer.Exit) as caught:
        run_serve(ServeOptions(port=0))
    assert caught.value.exit_code == 3
    assert [config.port for config in seen] == [0]
