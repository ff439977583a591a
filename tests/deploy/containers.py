"""Images that are built and run where no container engine is: buildah makes them, namespaces of this kernel run them.

Knows buildah, debootstrap, mounts and users; nothing of what is in an image. Needs root. Invariants: a container runs
as the image's user, without capabilities, on a root that cannot be written to; whatever happens, its processes and
mounts are gone when the context is left.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[2]
BASE = "localhost/longtake-base:bookworm"
STOP_LIMIT = 120.0
# One mount namespace for one container: the image's tree, bound read-only, and over it what may be written to.
RUN = """
set -euo pipefail
mount --bind "$TREE" "$TREE"
mount -t proc proc "$TREE/proc"
mount -t tmpfs -o mode=0755 tmpfs "$TREE/dev"
for name in null zero full random urandom; do
  : > "$TREE/dev/$name"
  mount --bind "/dev/$name" "$TREE/dev/$name"
done
ln -s /proc/self/fd "$TREE/dev/fd"
mkdir "$TREE/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$TREE/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$TREE/tmp"
for volume in $VOLUMES; do
  mount --bind "${volume%%:*}" "$TREE${volume#*:}"
done
mount -o remount,bind,ro "$TREE"
exec chroot "$TREE" "$@"
"""


def call(*words: str | Path, **options: Any) -> str:
    """What a command prints. Raises CalledProcessError, with what it said on the way."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True, check=True, **options)
    return str(done.stdout).strip()


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of how it wants to be run."""

    user: str
    environment: Mapping[str, str]
    command: tuple[str, ...]
    healthcheck: tuple[str, ...]
    volumes: tuple[str, ...]
    folder: str
    labels: Mapping[str, str]

    @classmethod
    def read(cls, image: str) -> "ImageConfig":
        config = json.loads(call("buildah", "inspect", "--type", "image", image))["Docker"]["config"]
        return cls(
            user=config["User"],
            environment=dict(pair.split("=", 1) for pair in config["Env"]),
            command=(*config["Entrypoint"], *config["Cmd"]),
            healthcheck=tuple(config["Healthcheck"]["Test"][1:]),
            volumes=tuple(config["Volumes"]),
            folder=config["WorkingDir"],
            labels=config["Labels"],
        )


def have_image(image: str) -> bool:
    return (
        subprocess.run(["buildah", "inspect", "--type", "image", image], capture_output=True, check=False).returncode
        == 0
    )


def make_base(image: str = BASE) -> None:
    """A small Debian with Python in it, as images of Python are; for there is no registry to pull one from."""
    with TemporaryDirectory(prefix="longtake-base-") as work:
        tree = Path(work) / "tree"
        include = "--include=python3,python3-venv,ca-certificates"
        call("debootstrap", "--variant=minbase", include, "bookworm", tree)
        container = call("buildah", "from", "scratch")
        call("buildah", "add", "--quiet", container, tree, "/")
        call("buildah", "commit", "--quiet", "--rm", container, image)


def index_options(work: Path, *, local: bool) -> list[str]:
    """How a build reaches packages as this machine does: pip's settings as a secret, and the files they name.

    `local`: also the folders of packages that this machine has, which may be builds for machines without a GPU.
    """
    settings = dict(line.split("=", 1) for line in call(sys.executable, "-m", "pip", "config", "list").splitlines())
    values = {key.rpartition(".")[2]: value.strip("'").split() for key, value in settings.items()}
    names = ("index-url", "cert", "timeout", *(("extra-index-url", "find-links") if local else ()))
    chosen = {name: values[name] for name in names if name in values}
    lines = [f"{name} = {' '.join(value)}" for name, value in chosen.items()]
    (work / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), "utf-8")
    options = ["--secret", f"id=pip,src={work / 'pip.conf'}"]
    words = [word.removeprefix("file://") for found in chosen.values() for word in found]
    for path in sorted({Path(word) for word in words if word.startswith("/")}):
        held = path.parent if path.name == "simple" else path
        if held.exists():
            options += ["--volume", f"{held}:{held}:ro"]
    return options


def stages_of(dockerfile: str) -> dict[str, str]:
    """The text of each stage by its name; what stands before the first one under ''."""
    head, *parts = re.split(r"(?m)^(?=FROM )", dockerfile)
    return {"": head} | {re.match(r"FROM \S+ AS (\S+)", part)[1]: part for part in parts}  # type: ignore[index]


def only_stages(dockerfile: str, target: str) -> str:
    """The Dockerfile with what `target` needs: older buildahs build every stage that stands before it."""
    stages = stages_of(dockerfile)
    needed, waiting = {""}, [target]
    while waiting:
        name = waiting.pop()
        if name in stages and name not in needed:
            needed.add(name)
            waiting += re.findall(r"(?:^FROM |--from=)(\S+)", stages[name], re.MULTILINE)
    return "".join(text for name, text in stages.items() if name in needed)


def build_image(target: str, tag: str, *, arguments: Sequence[str] = (), log: Path) -> None:
    """Raises CalledProcessError."""
    with TemporaryDirectory(prefix="longtake-build-") as folder, log.open("w") as said:
        work = Path(folder)
        (work / "Dockerfile").write_text(only_stages((ROOT / "deploy/Dockerfile").read_text("utf-8"), target), "utf-8")
        command = ["buildah", "bud", "--isolation", "chroot", "--format", "docker", "--target", target, "--tag", tag]
        command += ["--build-arg", f"BASE_IMAGE={BASE}", *arguments, *index_options(work, local=target == "cpu")]
        subprocess.run([*command, "-f", str(work / "Dockerfile"), "."], cwd=ROOT, stdout=said, stderr=said, check=True)


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """The image's tree, in a container of its own."""
    container = call("buildah", "from", image)
    try:
        yield Path(call("buildah", "mount", container))
    finally:
        call("buildah", "rm", container)


@dataclass(slots=True)
class Container:
    """A running container. `process` is what made its namespaces, and ends as it does."""

    config: ImageConfig
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes]"

    def execute(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as `docker exec` does."""
        enter = ["nsenter", "--target", str(self._first()), "--mount", "--pid", "--root", "--wd"]
        command = [*enter, *self._as_user(), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def stop(self, number: int) -> int:
        """Send a signal to its first process; the exit code."""
        os.kill(self._first(), number)
        return self.process.wait(STOP_LIMIT)

    def _first(self) -> int:
        """Its process 1, by the number that it has out here."""
        kept = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until = time.monotonic() + STOP_LIMIT
        while not (children := kept.read_text("ascii").split()):
            assert time.monotonic() < until, "the container has no process"
            time.sleep(0.05)
        return int(children[0])

    def _as_user(self) -> list[str]:
        return as_user(self.config, self.environment)


def as_user(config: ImageConfig, environment: Mapping[str, str]) -> list[str]:
    """The words before a command that make it the image's user with nothing more than any user has."""
    user, _, group = config.user.partition(":")
    drop = ["setpriv", "--reuid", user, "--regid", group or user, "--clear-groups", "--no-new-privs"]
    pairs = [f"{name}={value}" for name, value in environment.items()]
    return [*drop, "--bounding-set=-all", "--inh-caps=-all", "env", "-i", "-C", config.folder, *pairs]


@contextmanager
def running(
    image: str, *, tree: Path, volumes: Mapping[str, Path], environment: Mapping[str, str], log: Path
) -> Iterator[Container]:
    """The image's own command, on a read-only `tree`, with folders of this machine where it has volumes."""
    config = ImageConfig.read(image)
    variables = {**config.environment, **environment}
    owner = int(config.user.partition(":")[0])
    for folder in volumes.values():
        folder.mkdir(exist_ok=True)
        os.chown(folder, owner, owner)
    mounts = " ".join(f"{folder}:{path}" for path, folder in volumes.items())
    isolate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", RUN, "bash"]
    with log.open("ab") as said:
        process = subprocess.Popen(
            [*isolate, *as_user(config, variables), *config.command],
            env=os.environ | {"TREE": str(tree), "VOLUMES": mounts},
            stdout=said,
            stderr=said,
        )
    try:
        yield Container(config, variables, process)
    finally:
        process.kill()
        process.wait()


def wait_until_healthy(container: Container, *, within: float) -> float:
    """Ask the image's own health check until it is content. Seconds that took."""
    began = time.monotonic()
    while time.monotonic() < began + within:
        if container.process.poll() is not None:
            raise AssertionError(f"the container ended with code {container.process.returncode}")
        if container.execute(*container.config.healthcheck).returncode == 0:
            return time.monotonic() - began
        time.sleep(0.5)
    raise AssertionError(f"the container was not healthy within {within:g} s")
