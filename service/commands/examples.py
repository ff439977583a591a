"""What each command's help shows: lines that can be typed as they stand.

Knows commands by their names only. Invariant: every command has an example, and every example is one that the command
takes (tests read each of them).
"""

from types import MappingProxyType

import typer

EXAMPLES = MappingProxyType(
    {
        "serve": ("longtake serve", "longtake serve --port 8080 --set max_sessions=4"),
        "generate": ('longtake generate --prompt "a red ball bounces over a grassy meadow by day" -s 10 -o ball.mp4',),
        "stream": (
            'longtake stream -p "a red ball bounces" --at 4s "a blue star over the sea at night" -o take.mp4',
            'longtake stream -p "a red ball bounces" --show',
        ),
        "batch": ("longtake batch stories.jsonl -o films",),
        "replay": ("longtake replay SESSION --json",),
        "sessions list": ("longtake sessions list --json",),
        "sessions show": ("longtake sessions show SESSION",),
        "sessions delete": ("longtake sessions delete SESSION",),
        "sessions record": ("longtake sessions record SESSION -o take.mp4 --cut aired",),
        "backup": ("longtake backup copies/today",),
        "restore": ("longtake restore copies/today --store new-store",),
        "migrate": ("longtake migrate",),
        "render": ("longtake render SESSION -o large.mp4 --decoder full",),
        "load": ("longtake load --sessions 8 --seconds 30 --switch-every 5",),
        "top": ("longtake top", "longtake top --json --count 10 --every 1"),
        "sheet": ("longtake sheet take.mp4", "longtake sheet take.mp4 -o sheet.png --columns 4 --stills 12"),
        "bench": ("longtake bench --blocks 60 --json", "longtake bench --format m4s"),
        "eval": ("longtake eval --only switches --clips 64 -o evaluation",),
        "download": ("longtake download longlive-1.3b",),
        "doctor": ("longtake doctor demo",),
        "verify": ("longtake verify demo",),
        "train": ("longtake train single --config models/train/configs/single.toml --out runs/one",),
        "keys create": ("longtake keys create --tenant studio",),
        "keys list": ("longtake keys list --json",),
        "keys revoke": ("longtake keys revoke KEY",),
        "describe": ("longtake describe openapi",),
        "config show": ("longtake config show --config longtake.toml",),
        "version": ("longtake version",),
    }
)


def teach(app: typer.Typer, *, group: str = "") -> None:
    """Put the examples behind the help of every command of `app` and of its groups."""
    for command in app.registered_commands:
        assert command.callback is not None, "a command does something"
        name = command.name or command.callback.__name__.replace("_", "-")
        lines = "\n".join(EXAMPLES.get(f"{group} {name}".strip(), ()))
        command.epilog = f"\b\nFor example:\n{lines}" if lines else None
    for part in app.registered_groups:
        assert part.typer_instance is not None, "a group has commands"
        teach(part.typer_instance, group=part.name or "")
