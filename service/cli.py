"""The command `longtake`: one function for each sub-command, which reads its options and hands them on.

Imports neither torch nor the server: what a sub-command needs is imported when it runs. Invariant: whatever the
engine, the wire or the options refuse ends here as one line on stderr, `error: CODE (field): message`, and an exit
code: 2 where the input is at fault, 1 where it could not be done.
"""

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from client.errors import ClientError
from models.errors import EngineError
from service.commands.access_options import DescribeOptions, KeyCreateOptions, KeyListOptions, KeyRevokeOptions
from service.commands.examples import teach
from service.commands.failures import ExitCode, describe
from service.commands.looking_options import SheetOptions, TopOptions
from service.commands.options import (
    BatchOptions,
    BenchOptions,
    ConfigOptions,
    DoctorOptions,
    DownloadOptions,
    EvalOptions,
    GenerateOptions,
    LoadOptions,
    OptionError,
    RecordOptions,
    RenderOptions,
    ReplayOptions,
    ServeOptions,
    SessionListOptions,
    SessionOptions,
    StreamOptions,
    VerifyOptions,
    fold_pairs,
    takes,
)
from service.commands.store_options import BackupOptions, MigrateOptions, RestoreOptions
from service.errors import ServiceError

app = typer.Typer(
    name="longtake",
    help="A streaming video diffusion service: one long shot, made while you watch and direct it.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="The settings of the service.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
sessions_app = typer.Typer(help="The sessions of a store.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(sessions_app, name="sessions")
keys_app = typer.Typer(help="Who may use the service.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")


@app.command()
@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Start the service: a worker and the web server."""
    from service.commands.serve import run_serve

    run_serve(options)


@app.command()
@takes(GenerateOptions)
def generate(options: GenerateOptions) -> None:
    """Make a video with the engine alone."""
    from service.commands.generate import run_generate

    run_generate(options)


@app.command()
@takes(StreamOptions)
def stream(options: StreamOptions) -> None:
    """Make a video through a running service."""
    from service.commands.stream import run_stream

    run_stream(options)


@app.command()
@takes(BatchOptions)
def batch(options: BatchOptions) -> None:
    """Make a file of videos through a running service."""
    from service.commands.batch import run_batch

    run_batch(options)


@app.command()
@takes(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Make a session's frames again, and compare."""
    from service.commands.replay import run_replay

    run_replay(options)


@sessions_app.command("list")
@takes(SessionListOptions)
def sessions_list(options: SessionListOptions) -> None:
    """List the sessions, the newest first."""
    from service.commands.sessions import run_list

    run_list(options)


@sessions_app.command("show")
@takes(SessionOptions)
def sessions_show(options: SessionOptions) -> None:
    """Show one session."""
    from service.commands.sessions import run_show

    run_show(options)


@sessions_app.command("delete")
@takes(SessionOptions)
def sessions_delete(options: SessionOptions) -> None:
    """Delete one session that has ended, with its latents."""
    from service.commands.sessions import run_delete

    run_delete(options)


@sessions_app.command("record")
@takes(RecordOptions)
def sessions_record(options: RecordOptions) -> None:
    """Write a session's video, from its latents."""
    from service.commands.record import run_record

    run_record(options)


@app.command()
@takes(BackupOptions)
def backup(options: BackupOptions) -> None:
    """Copy the store to a folder, while it is used or not, and check the copy."""
    from service.commands.keeping import run_backup

    run_backup(options)


@app.command()
@takes(RestoreOptions)
def restore(options: RestoreOptions) -> None:
    """Put a backup where there is no store yet."""
    from service.commands.keeping import run_restore

    run_restore(options)


@app.command()
@takes(MigrateOptions)
def migrate(options: MigrateOptions) -> None:
    """Bring the store's tables to this version, as serving does, or one version back."""
    from service.commands.keeping import run_migrate

    run_migrate(options)


@app.command()
@takes(RenderOptions)
def render(options: RenderOptions) -> None:
    """Render a stored session again: by another decoder, or as a new take at another size or step count."""
    from service.commands.render import run_render

    run_render(options)


@app.command()
@takes(LoadOptions)
def load(options: LoadOptions) -> None:
    """Put many sessions on a running service, and measure."""
    from service.commands.load import run_load

    run_load(options)


@app.command()
@takes(TopOptions)
def top(options: TopOptions) -> None:
    """Show a running service's sessions and devices, live."""
    from service.commands.top import run_top

    run_top(options)


@app.command()
@takes(SheetOptions)
def sheet(options: SheetOptions) -> None:
    """Put stills of a video on one picture."""
    from service.commands.sheet import run_sheet

    run_sheet(options)


@app.command()
@takes(BenchOptions)
def bench(options: BenchOptions) -> None:
    """Measure the engine, stage by stage."""
    from service.commands.bench import run_bench

    run_bench(options)


@app.command("eval")
@takes(EvalOptions)
def evaluate(options: EvalOptions) -> None:
    """Measure what a model makes: against its prompts, over minutes, at prompt switches."""
    from service.commands.eval import run_eval

    run_eval(options)


@app.command()
@takes(DownloadOptions)
def download(options: DownloadOptions) -> None:
    """Fetch the files of a preset, after its licence was agreed to."""
    from service.commands.download import run_download

    run_download(options)


@app.command()
@takes(DoctorOptions)
def doctor(options: DoctorOptions) -> None:
    """Say what serving a preset on this machine would run into."""
    from service.commands.doctor import run_doctor

    run_doctor(options)


@app.command()
@takes(VerifyOptions)
def verify(options: VerifyOptions) -> None:
    """Check on this machine that a model computes what it should."""
    from service.commands.verify import run_verify

    run_verify(options)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(context: typer.Context) -> None:
    """Train a demo model on rendered clips."""
    from service.commands.train import run_train

    run_train(context.args)


@keys_app.command("create")
@takes(KeyCreateOptions)
def keys_create(options: KeyCreateOptions) -> None:
    """Make a key, and show it once."""
    from service.commands.keys import run_create

    run_create(options)


@keys_app.command("list")
@takes(KeyListOptions)
def keys_list(options: KeyListOptions) -> None:
    """List the keys, and what they have used today."""
    from service.commands.keys import run_list

    run_list(options)


@keys_app.command("revoke")
@takes(KeyRevokeOptions)
def keys_revoke(options: KeyRevokeOptions) -> None:
    """End a key for good."""
    from service.commands.keys import run_revoke

    run_revoke(options)


@app.command("describe")
@takes(DescribeOptions)
def describe_interface(options: DescribeOptions) -> None:
    """Print what the service answers to, as OpenAPI or AsyncAPI."""
    from service.commands.describe import run_describe

    run_describe(options)


@config_app.command("show")
@takes(ConfigOptions)
def config_show(options: ConfigOptions) -> None:
    """Print every setting as it would be used, as TOML."""
    from service.commands.serve import run_config_show

    run_config_show(options)


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Print the version."""
    found = metadata.version("longtake")
    typer.echo(json.dumps({"version": found}) if as_json else found)


teach(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=fold_pairs(words), prog_name="longtake")
    except (EngineError, ServiceError, ClientError, OptionError, OSError) as error:
        failure = describe(error)
        typer.echo(failure.line, err=True)
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
