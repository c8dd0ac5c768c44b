"""A mail server and a web server on this machine, for the tests of alerts: real sockets, real
protocols, and they keep what they got."""

import http.server
import json
import socketserver
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy


class MailHandler(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a client needs to hand over a mail."""

    def answer(self, text):
        self.wfile.write(f"{text}\r\n".encode())

    def handle(self):
        self.answer("220 here")
        receivers = []
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.answer("354 go on")
                lines = []
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(part.removeprefix(b"."))
                letter = message_from_bytes(b"".join(lines), policy=policy.default)
                self.server.got.append((receivers, letter))
                self.answer("250 taken")
            elif word == b"RCPT":
                receivers.append(line.decode().split("<")[1].split(">")[0])
                refused = self.server.refuses
                self.answer("550 no such person" if refused else "250 fine")
            elif word == b"QUIT":
                self.answer("221 bye")
                return
            else:
                self.answer("250 fine")


class WebHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses:
            self.send_response(503)
        else:
            self.server.got.append(json.loads(body))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


@contextmanager
def serving(handler):
    """A server on a free port; `got` has what it took, `refuses` makes it refuse."""
    with Server(("127.0.0.1", 0), handler) as server:
        server.got, server.refuses = [], False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
