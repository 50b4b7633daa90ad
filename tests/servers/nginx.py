"""A private nginx: plain HTTP, and HTTPS that may ask for a client certificate."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tests.servers.program import Program
from tests.servers.redis import free_port
from tests.support.authority import Authority

# /sink logs what it is sent: nginx has read a body only where it had to pass it on.
CONFIG = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log info;
events {{ worker_connections 512; }}
http {{
  log_format lines escape=json '{{"connection":$connection,"status":$status,"path":"$uri",'
    '"id":"$http_webhook_id","event":"$http_notify_event_type","tls":"$ssl_protocol",'
    '"timestamp":"$http_webhook_timestamp","signature":"$http_webhook_signature",'
    '"name":"$ssl_server_name","client":"$ssl_client_s_dn","body":"$request_body"}}';
  access_log {directory}/access.log lines;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_body_buffer_size 64k;
  client_max_body_size 64k;
  upstream sink {{ server 127.0.0.1:{sink_port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    server_name hook.example;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {directory}/endpoint.pem;
    ssl_certificate_key {directory}/endpoint.pem;
    ssl_client_certificate {directory}/authority.pem;
    ssl_verify_client {verify_client};
    keepalive_requests {keepalive_requests};
    keepalive_timeout {keepalive_timeout};
    location = /hook {{ proxy_pass http://sink/; proxy_set_header connection ""; }}
    location = /empty {{ return 204; }}
    location = /moved {{ return 307 http://169.254.169.254/; }}
    location = /gone {{ return 410; }}
    location = /busy {{ add_header retry-after 7 always; return 503 "come back later"; }}
    location = /hang-up {{ return 444; }}
    location = /down {{ proxy_pass http://127.0.0.1:1/; }}
    location /hooks/ {{ proxy_pass http://127.0.0.1:{behind}; }}
  }}
  server {{ listen 127.0.0.1:{sink_port}; access_log off; location / {{ return 200 "taken"; }} }}
}}
"""


class Line(NamedTuple):
    """A request in the access log; a connection has a number of its own."""

    connection: int
    status: int
    path: str
    id: str
    event: str
    tls: str
    timestamp: str
    signature: str
    name: str
    client: str
    body: str


class Nginx(Program):
    """hook.example and 127.0.0.1, certified by `authority`; paths: see CONFIG.

    behind: the port of what serves /hooks/.
    """

    name = "nginx"
    package = "nginx"

    def __init__(
        self,
        authority: Authority,
        keepalive_requests: int = 1000,
        keepalive_timeout: str = "60s",
        verify_client: bool = False,
        behind: int = 1,
    ) -> None:
        super().__init__()
        self.tls_port = free_port()
        issued = authority.issue("hook.example", "127.0.0.1")
        (self.directory / "endpoint.pem").write_text(issued.certificate + issued.key)
        (self.directory / "authority.pem").write_text(authority.pem)
        (self.directory / "nginx.conf").write_text(
            CONFIG.format(
                directory=self.directory,
                port=self.port,
                tls_port=self.tls_port,
                sink_port=free_port(),
                keepalive_requests=keepalive_requests,
                keepalive_timeout=keepalive_timeout,
                verify_client="on" if verify_client else "off",
                behind=behind,
            )
        )

    def arguments(self) -> Sequence[str]:
        return ["-c", f"{self.directory}/nginx.conf", "-p", f"{self.directory}", "-e", "error.log"]

    def requests(self) -> list[Line]:
        """What it was asked, in the order of its answers; a line is there soon after its answer."""
        lines = (self.directory / "access.log").read_bytes().splitlines()
        return [Line(**msgspec.json.decode(line)) for line in lines]
