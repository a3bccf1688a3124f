"""A local W&B server that accepts runs, sweeps and agents, and stores what they send."""

import gzip
import json
import os
import subprocess
import sys
import threading
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

KEY = "0123456789" * 4


def wandb(*words, cwd, **environment):
    """Run the client's command line in a subprocess."""
    command = [sys.executable, "-m", "wandb", *map(str, words)]
    variables = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=100, check=False)


def values(run, name):
    """Return the values of a figure in the history of a run on the server."""
    return [row[name] for row in run["history"] if name in row]


def _pages(nodes):
    page = {"endCursor": None, "hasNextPage": False}
    return {"edges": [{"node": node, "cursor": "c"} for node in nodes], "pageInfo": page}


def _view(given, project):
    user = {"username": "me", "name": "me", "photoUrl": None, "admin": False}
    times = {"updatedAt": "2026-01-01", "createdAt": "2026-01-01", "coverUrl": None}
    fields = {name: given.get(name) for name in ("name", "displayName", "description", "spec")}
    return {"id": "Vmlldzox", "type": "runs", "user": user, "project": project, "entityName": "me"} | fields | times


class WandbServer:
    """Listens on a local port.

    Attributes:
        runs: by run id: ``config``, ``history`` (rows), ``pool``, ``files`` (name to bytes), ``sweep``.
        sweeps: by id: the config as text.
        jobs: the next jobs of agents.
        said: the names of all operations, in order.
        reports: the saved reports, in the order of their arrival.
    """

    def __init__(self):
        self.runs, self.sweeps, self.jobs, self.said, self.reports = {}, {}, [], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def body(self):
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    raw = b""
                    while size := int(self.rfile.readline(), 16):
                        raw += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

            def answer(self, content):
                self.send(json.dumps(content).encode(), "application/json")

            def send(self, content, kind="application/octet-stream"):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                if self.path.startswith("/get/"):
                    _, _, run, name = self.path.split("/", 3)
                    self.send(server.runs[run]["files"][unquote(name)])
                else:
                    self.answer({})

            def do_POST(self):
                body = self.body()
                if "/file_stream" in self.path:
                    server.stream(self.path.split("/")[-2], json.loads(body))
                    self.answer({})
                elif self.path.endswith("/graphql"):
                    asked = json.loads(body)
                    self.answer({"data": server.graphql(asked["query"], asked.get("variables") or {})})
                else:  # measurements of the client itself
                    self.answer({})

            def do_PUT(self):
                _, _, run, name = self.path.split("/", 3)
                server.run(run)["files"][name.split("?")[0]] = self.body()
                self.answer({})

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda request, address: None  # a client that has disconnected
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=[0.02], daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    @property
    def environment(self):
        """The environment variables of a client."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}

    def run(self, ident):
        return self.runs.setdefault(ident, {"config": {}, "history": [], "summary": {}, "files": {}, "sweep": None})

    def stream(self, ident, body):
        run = self.run(ident)
        for name, part in (body.get("files") or {}).items():
            rows = [json.loads(line) for line in part["content"] if name.endswith((".jsonl", ".json"))]
            if name == "wandb-history.jsonl":
                run["history"] += rows
            elif name == "wandb-summary.json":
                run["summary"].update(rows[-1])
        run["exit"] = body.get("exitcode", run.get("exit"))

    def graphql(self, query, given):
        """Return the answer to a query by its field."""
        name = query.split("(")[0].split("{")[0].split()[-1] if query.split() else ""
        self.said.append(name)
        project = {"id": "p", "internalId": "1", "name": "p", "entityName": "me", "artifact": None}
        project |= {"entity": {"id": "e", "name": "me"}, "createdAt": "2026-01-01", "isBenchmark": False, "user": None}
        if "createArtifact(" in query:  # as if it existed, so that the client does not upload it
            sequence = {"id": "q", "latestArtifact": None}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        if "upsertBucket" in query:
            return {"upsertBucket": {"bucket": self.bucket(given, project), "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/put/{given['run']}/{name}"} for name in given["files"]]
            response = {"runID": given["run"], "uploadHeaders": [], "files": files}
            return {"createRunFiles": response}
        if "upsertSweep" in query:
            ident = f"sweep{len(self.sweeps)}"
            self.sweeps[ident] = given.get("config")
            response = {"id": ident, "name": ident, "project": project}
            return {"upsertSweep": {"sweep": response, "configValidationWarnings": []}}
        if "createAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "agentHeartbeat" in query:
            running = any(run.get("exit") is None for run in self.runs.values()) or not self.runs
            commands = [self.jobs.pop(0)] if self.jobs else [] if running else [{"type": "exit"}]
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
        if "upsertView" in query:
            self.reports.append(given)
            return {"upsertView": {"view": _view(given, project), "inserted": True}}
        if "query GetProjects(" in query:
            return {"models": _pages([project])}
        if "query Runs(" in query:
            return {"project": {"internalId": "1", "runCount": len(self.runs), "readOnly": False} | self.listed()}
        if "query RunFiles(" in query:
            return {"project": {"internalId": "1", "run": self.files_of(given["name"])}}
        if "sweep(" in query:
            ident = next(iter(self.sweeps), "sweep0")
            sweep = {"id": ident, "name": ident, "state": "RUNNING", "runCount": 0, "config": self.sweeps.get(ident)}
            empty = {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
            sweep |= {"method": "grid", "bestLoss": None, "controller": None, "scheduler": None, "description": ""}
            return {"project": project | {"sweep": sweep | {"runs": empty}}}
        viewer = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        return {
            "viewer": viewer,
            "serverInfo": {
                "cliVersionInfo": {"max_cli_version": "9.9"},
                "latestLocalVersionInfo": None,
                "features": [],
            },
            "model": {"bucket": None},
            "project": project,
        }

    def listed(self):
        """Return the runs in the format of the client's public API."""
        empty = ("sweepName", "group", "jobType", "commit", "heartbeatAt", "description", "notes")
        user = {"name": "me", "username": "me"}
        shared = dict.fromkeys(empty) | {"projectId": "1", "tags": [], "state": "finished", "user": user}
        shared |= {"readOnly": False, "createdAt": "2026-01-01T00:00:00", "historyLineCount": 0}
        nodes = [shared | {"id": ident, "name": ident, "displayName": ident} for ident in self.runs]
        return {"runs": _pages(nodes)}

    def files_of(self, ident):
        files = self.runs[ident]["files"]
        nodes = [
            {
                "id": name, "name": name, "url": f"{self.url}/get/{ident}/{name}", "directUrl": "", "mimetype": "",
                "sizeBytes": len(content), "updatedAt": "2026-01-01T00:00:00", "md5": md5(content).hexdigest(),
            }
            for name, content in files.items()
        ]  # fmt: skip
        return {"fileCount": len(nodes), "files": _pages(nodes)}

    def bucket(self, given, project):
        ident = given.get("name") or given.get("id")
        run = self.run(ident)
        if given.get("config"):
            run["config"] = json.loads(given["config"])
        run["sweep"] = given.get("sweep") or run["sweep"]
        return {
            "id": ident, "name": ident, "displayName": ident, "description": "", "config": "{}", "sweepName": None,
            "project": project, "historyLineCount": 0,
        }  # fmt: skip
