"""A real nginx with the configuration that deploy/nginx has, in a folder of its own, with a certificate of its own.

Knows nginx and openssl; nothing of what is behind it. Invariants: of the file nothing is changed but what it marks as
its user's to change; the proxy's processes are gone when the context is left; no system service is touched.
"""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.image import free_port
from tests.serving import ROOT

CONFIGURATION = ROOT / "deploy" / "nginx" / "longtake.conf"
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/longtake.conf;
}}
"""
PATIENCE = 60.0


@dataclass(slots=True)
class Proxy:
    """`authority`: host and port where it listens; `environment`: what makes a client trust it."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SSL_CERT_FILE": str(self.folder / "fullchain.pem")}

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))

    def start(self) -> None:
        self.process = subprocess.Popen(["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")])
        until = time.monotonic() + PATIENCE
        while not (self.folder / "nginx.pid").exists():
            assert self.process.poll() is None, (self.folder / "error.log").read_text("utf-8")
            assert time.monotonic() < until, "nginx did not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """At once: every connection through it is cut."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None


def written(folder: Path, changes: Mapping[str, str]) -> None:
    text = CONFIGURATION.read_text("utf-8")
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    (folder / "longtake.conf").write_text(text, "utf-8")
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder), "utf-8")


def make_certificate(folder: Path) -> None:
    """For this machine's own address, good for a day."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-days", "1", *subject, *files], check=True, capture_output=True)


@contextmanager
def proxied(folder: Path, service: str) -> Iterator[Proxy]:
    """nginx in front of the service at `host:port`."""
    folder.mkdir()
    proxy = Proxy(folder, free_port())
    make_certificate(folder)
    written(
        folder,
        {
            "server 127.0.0.1:8000;": f"server {service};",
            "listen 443 ssl;": f"listen 127.0.0.1:{proxy.port} ssl;",
            "server_name video.example.org;": "server_name 127.0.0.1;",
            "/etc/nginx/longtake/": f"{folder}/",
        },
    )
    # Its workers run as a user of their own, who has to come to the certificate and the folders for bodies.
    folder.chmod(0o755)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
