"""The distribution's nginx before a service, with the configuration of the README."""

import subprocess
from pathlib import Path

import requests

from page import snippet
from service import free_port, until

AROUND = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off;
  {temporary}
  {snippet}
}}
"""


class Nginx:
    """Stands before the addresses of both ports of a service."""

    def __init__(self, folder: Path, to_http: str, to_grpc: str):
        self.http, self.grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.http}"
        configuration = snippet("nginx")
        for shown, here in (
            ("server 127.0.0.1:9000;", f"server {to_http};"),
            ("server 127.0.0.1:50051;", f"server {to_grpc};"),
            ("listen 80;", f"listen {self.http};"),
            ("listen 50050 ", f"listen {self.grpc} "),
        ):
            assert configuration.count(shown) == 1, shown
            configuration = configuration.replace(shown, here)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        self.file = folder / "nginx.conf"
        self.file.write_text(AROUND.format(folder=folder, temporary=temporary, snippet=configuration))

    def passes_on(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def __enter__(self):
        command = ["nginx", "-p", self.file.parent, "-c", self.file, "-e", self.file.parent / "nginx.log"]
        self.process = subprocess.Popen(command)
        until("nginx passes on", self.passes_on)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
