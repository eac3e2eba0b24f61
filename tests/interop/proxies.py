"""The shipped proxy examples, run for real: nginx and Caddy with TLS in front of a server, and curl as the client."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY
from tests.needs import need_program
from tests.ports import reserved_ports

HOST = "images.example.org"
PUBLIC_URL = f"https://{HOST}"
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Certificate:
    """A certificate for `HOST` that signed itself."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Answer:
    """What curl received.

    Attributes:
        version: of HTTP, as curl writes it: "1.1" or "2".
        headers: of the last response, names in lower case.
        trace: what curl says with --verbose.
    """

    status: int
    version: str
    headers: dict[str, str]
    body: bytes
    trace: str


@dataclass(frozen=True)
class Proxy:
    """A running proxy.

    Attributes:
        port: where it speaks TLS.
        plain_port: where it speaks HTTP.
        output: everything that it writes to any log.
    """

    name: str
    port: int
    plain_port: int
    certificate: Certificate
    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def output(self) -> str:
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))

    def curl(self, path: str, *options: str, stdin: Path | None = None) -> Answer:
        """Ask for a path below the public URL, or for a whole URL, with further options of curl."""
        url = path if path.startswith("http") else PUBLIC_URL + path
        head, body = self.folder / "head", self.folder / "body"
        command = [need_program("curl"), "--verbose", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]
        command += ["--cacert", str(self.certificate.certificate), "--dump-header", str(head), "--output", str(body)]
        command += ["--connect-to", f"{HOST}:443:127.0.0.1:{self.port}"]
        command += ["--connect-to", f"{HOST}:80:127.0.0.1:{self.plain_port}"]
        command += ["--write-out", "%{http_version} %{http_code}", *options, url]
        body.write_bytes(b"")
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = subprocess.run(command, stdin=source, capture_output=True, check=False)
        assert done.returncode == 0, f"{done.stderr.decode(errors='replace')[-2000:]}\n{self.output[-2000:]}"
        version, status = done.stdout.decode().split()
        last = re.split(r"\r?\n\r?\n", head.read_text().strip())[-1].splitlines()[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in last)}
        return Answer(int(status), version, headers, body.read_bytes(), done.stderr.decode(errors="replace"))

    @contextmanager
    def connect(self) -> Iterator[ssl.SSLSocket]:
        """Open a connection to speak HTTP/1.1 by hand."""
        context = ssl.create_default_context(cafile=str(self.certificate.certificate))
        with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_SECONDS) as plain:
            with context.wrap_socket(plain, server_hostname=HOST) as connection:
                yield connection

    def largest_memory(self) -> int:
        """Most bytes of memory that the proxy has ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kibibytes) * 1024


StartProxy = Callable[..., Proxy]


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate as an operator without an authority would."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = [need_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@contextmanager
def start_proxy(
    name: str, folder: Path, certificate: Certificate, upstream: str, *, changes: dict[str, str] | None = None
) -> Iterator[Proxy]:
    """Run a shipped example with ports, paths and `changes` put in; nothing is left behind."""
    with reserved_ports(2) as (port, plain_port):
        yield from _running(name, folder, certificate, upstream, port, plain_port, changes or {})


def _running(
    name: str,
    folder: Path,
    certificate: Certificate,
    upstream: str,
    port: int,
    plain_port: int,
    changes: dict[str, str],
) -> Iterator[Proxy]:
    program = need_program(name)
    write = {"nginx": _write_nginx, "caddy": _write_caddy}[name]
    command = write(folder, certificate, upstream, port, plain_port, changes)
    environment = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    environment |= {"ARCHIVE_SITE": HOST, "ARCHIVE_UPSTREAM": upstream}
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen([program, *command], stdout=log, stderr=subprocess.STDOUT, env=environment)
    proxy = Proxy(name, port, plain_port, certificate, process, folder)
    try:
        _wait_until_it_listens(proxy)
        # Where nginx would put bodies that it does not pass on at once. Without the folder such an attempt fails.
        shutil.rmtree(folder / "temporary", ignore_errors=True)
        yield proxy
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def put_in(text: str, changes: dict[str, str]) -> str:
    """Make changes to an example, each of which must have something to change."""
    for before, after in changes.items():
        assert before in text, f"the example has no {before!r}"
        text = text.replace(before, after)
    return text


def nginx_site(folder: Path, certificate: Certificate, upstream: str, port: int, plain_port: int) -> str:
    """Return the shipped site with the places of this machine."""
    own = {
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "    listen [::]:80;\n": "",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "    listen [::]:443 ssl http2;\n": "",
        "/etc/ssl/images.example.org/fullchain.pem": str(certificate.certificate),
        "/etc/ssl/images.example.org/privkey.pem": str(certificate.key),
        "/var/log/nginx/error.log": str(folder / "error.log"),
        "127.0.0.1:8000": upstream,
    }
    return put_in((REPOSITORY / "deploy" / "nginx.conf").read_text(), own)


def write_nginx(folder: Path, site: str) -> Path:
    """Write what Debian's nginx.conf has around a site; one process, so that it can be measured and ended."""
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/temporary/{kind};" for kind in folders)
    (folder / "temporary").mkdir(exist_ok=True)
    (folder / "site.conf").write_text(site)
    main = folder / "main.conf"
    main.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/start.log warn;\n"
        f"events {{}}\nhttp {{ gzip on;\n{temporary}\ninclude {folder}/site.conf;\n}}\n"
    )
    return main


def _write_nginx(
    folder: Path, certificate: Certificate, upstream: str, port: int, plain_port: int, changes: dict[str, str]
) -> list[str]:
    site = put_in(nginx_site(folder, certificate, upstream, port, plain_port), changes)
    return ["-p", str(folder), "-e", str(folder / "start.log"), "-c", str(write_nginx(folder, site))]


def _write_caddy(
    folder: Path, certificate: Certificate, upstream: str, port: int, plain_port: int, changes: dict[str, str]
) -> list[str]:
    own = {
        "\n{\n": f"\n{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {plain_port}\n\thttps_port {port}\n",
        ":localhost} {": f":localhost}} {{\n\ttls {certificate.certificate} {certificate.key}",
    }
    text = put_in((REPOSITORY / "deploy" / "Caddyfile").read_text(), own | changes)
    (folder / "Caddyfile").write_text(text)
    return ["run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _wait_until_it_listens(proxy: Proxy) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and proxy.process.poll() is None:
        try:
            with proxy.connect():
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{proxy.name} did not start:\n{proxy.output[-4000:]}")
