"""A minimal local W&B server that can fail as a real one does."""

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789" * 4


class Stub:
    """A local server for ``WANDB_BASE_URL``.

    Args:
        fault: nothing, ``error`` (answers 500), or ``hang`` (answers nothing); may be changed while it runs.

    Attributes:
        asked: (path, body) of every request that was answered.
    """

    def __init__(self, fault=None):
        self.fault, self.asked = fault, []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                while stub.fault == "hang":
                    time.sleep(0.1)
                if stub.fault == "error":
                    return self.reply(500, {"error": "out of order"})
                stub.asked.append((self.path, body))
                return self.reply(200, stub.data(self.path, body))

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - names of the base class

            def reply(self, code, data):
                text = json.dumps(data).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def data(self, path, body):
        """Return the smallest answer that the client accepts."""
        if not path.startswith("/graphql"):
            return {"exitcode": None, "limits": {}}
        query = json.loads(body or b"{}")
        text, given = query.get("query", ""), query.get("variables", {})
        if "upsertBucket" in text:
            project = {"name": given.get("project") or "p", "entity": {"name": "me"}}
            run = {"id": "UnVu", "name": given.get("name"), "displayName": given.get("displayName"), "project": project}
            return {"data": {"upsertBucket": {"bucket": run | {"config": "{}", "sweepName": None}, "inserted": True}}}
        if "createRunFiles" in text:
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{name}"} for name in given.get("files", [])]
            return {"data": {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": files}}}
        viewer = {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        return {"data": {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}}

    def close(self):
        """Close the server as a crash would."""
        self.fault = "error"
        self.server.shutdown()
        self.server.server_close()
