"""`longtake serve` and `longtake config show`: settings from flags, environment and file, and what is done with them.

Knows the settings and who starts the service; nothing of processes or sockets. What `config show` prints is a file
of settings that means the same.
"""

import json
from collections.abc import Iterator, Sequence

import typer

from service.commands.options import ConfigOptions, OptionError, ServeOptions
from service.config import ServiceConfig, load_config


def run_serve(options: ServeOptions) -> None:
    """Serve until a signal comes; leave with the service's exit code."""
    config = config_of(options)
    if options.cluster:
        from service.cluster.app import run_cluster

        raise typer.Exit(run_cluster(config))
    from service.launch import run_service

    raise typer.Exit(run_service(config))


def run_config_show(options: ConfigOptions) -> None:
    for line in settings_lines(config_of(options)):
        typer.echo(line)


def config_of(options: ConfigOptions) -> ServiceConfig:
    """Raises OptionError or ConfigError."""
    named = {"host": options.host, "port": options.port, "preset": options.preset, "device": options.device}
    given = {name: value for name, value in named.items() if value is not None} | options.settings
    if options.random_weights:
        given["random_weights"] = True
    return load_config(flags=settings_of(options.set or ()) | given, file=options.config)


def settings_of(pairs: Sequence[str]) -> dict[str, object]:
    """`NAME=VALUE` words as settings; the settings' own types make of the value what it is."""
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise OptionError(f"expected NAME=VALUE, not {pair!r}", code="config_invalid", field="set")
        settings[name.strip()] = value
    return settings


def settings_lines(config: ServiceConfig) -> Iterator[str]:
    """Every setting as TOML, each under what it means."""
    values = config.model_dump(mode="json")
    for name, field in ServiceConfig.model_fields.items():
        yield f"# {field.description}"
        # A JSON text, number, truth value or list of texts is the same in TOML, which has no null.
        yield f"{name} = {json.dumps(values[name], ensure_ascii=False)}" if values[name] is not None else f"# {name}"
