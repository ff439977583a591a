"""What tests of the page take from npm: rules of accessibility and a type checker, pinned, with their hashes.

Knows `npm ci` and tests/e2e/npm; nothing of pages. Invariants: exactly the versions of the lock file are used; nothing
of it is left in the tree.
"""

import shutil
import subprocess
from pathlib import Path

NPM = Path(__file__).parent / "npm"
LIMIT = 300.0


def install_tools(folder: Path) -> Path:
    """The folder `node_modules`, made in `folder`."""
    npm = shutil.which("npm")
    assert npm is not None, "expected npm: it is a system package that `make test-system` needs"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert result.returncode == 0, result.stderr
    return folder / "node_modules"
