"""Prints the image's bill of materials as CycloneDX JSON: each Python package and each Debian package in it.

Knows the metadata that pip and dpkg keep; nothing of the image's layers. Invariant: the same packages give the same
document, whenever and wherever it is made.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from urllib.parse import quote

VERSION = "1.6"


def python_components() -> list[dict[str, object]]:
    found = {}
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
        component: dict[str, object] = {"type": "library", "bom-ref": purl, "name": name, "version": version}
        licence = distribution.metadata.json.get("license_expression")
        if licence:
            component["licenses"] = [{"expression": licence}]
        found[purl] = component | {"purl": purl}
    return [found[purl] for purl in sorted(found)]


def system_components() -> list[dict[str, object]]:
    """None where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return []
    show = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n"]
    listed = subprocess.run(show, capture_output=True, text=True, check=True, timeout=60).stdout
    components: list[dict[str, object]] = []
    for line in sorted(listed.splitlines()):
        status, name, version, architecture = line.split("\t")
        if status.startswith("ii"):
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
            components.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return components


def document() -> dict[str, object]:
    components = [*python_components(), *system_components()]
    digest = hashlib.sha256(json.dumps(components, sort_keys=True).encode()).hexdigest()
    serial = f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "longtake", "name": "longtake"}},
        "components": components,
    }


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    sys.stdout.write("\n")
