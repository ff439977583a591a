"""Writes deploy/constraints-cuda.txt: every package of the `cuda` image with its version. `--check` only compares.

    python deploy/constraints.py

Knows pip and pyproject.toml. Versions that constraints.txt has stay as they are, for they are tested together; what it
has not (CUDA's libraries, Triton, xformers) is what pip chooses beside them. Invariant: the file's first lines tell
from what it was made, so that a test sees without a network when it is no longer of this project's requirements.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "image"))

from requirements import requirements  # noqa: E402

FILE = HERE / "constraints-cuda.txt"
EXTRAS = ["gpu", "checkpoints", "quantize", "telemetry", "postgres", "cluster"]
HEAD = """\
# Made by deploy/constraints.py; not written by hand. What the `cuda` target of deploy/Dockerfile installs.
# Of the requirements in pyproject.toml and the versions in constraints.txt: {digest}
"""


def wanted() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return sorted(requirements(project, extras=EXTRAS))


def pins() -> list[str]:
    """The lines of constraints.txt that pin."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return sorted(line for line in lines if re.match(r"[\w.-]+==", line))


def digest() -> str:
    return hashlib.sha256("\n".join([*wanted(), *pins()]).encode()).hexdigest()


def resolve() -> list[str]:
    """What pip would install, as NAME==VERSION lines. Without this machine's own index settings: they may have builds
    of torch for machines without a GPU, which would be taken for newer.
    """
    with TemporaryDirectory() as work:
        report = Path(work) / "report.json"
        words = ["install", "--isolated", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
        words += ["--report", str(report), "-c", str(ROOT / "constraints.txt"), *wanted()]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        installed = json.loads(report.read_text("utf-8"))["install"]
    lines = (f"{item['metadata']['name']}=={item['metadata']['version']}" for item in installed)
    return sorted(lines, key=str.lower)


def main() -> int:
    text = HEAD.format(digest=digest()) + "\n".join(resolve()) + "\n"
    if "--check" in sys.argv[1:]:
        same = FILE.read_text("utf-8") == text
        sys.stdout.write("as written\n" if same else "pip would choose other versions now\n")
        return 0 if same else 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
