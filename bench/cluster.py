"""What bench/calls, bench/memory and bench/soak share: a cluster to measure, a platform on it, and the load.

The cluster is a temporary one, or the one that the environment names: SSDB_URL with PGHOST, PGPORT and PGUSER, as `make -s env` prints
them. PG_CONFIG or PG_VERSION choose the PostgreSQL of a temporary one; the extension must be installed there (make install).
"""
import atexit
import contextlib
import functools
import glob
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = 10_000
# Of a temporary cluster.
ADMIN_TOKEN = "bench"
BUNDLE = {
    "tables/items.pssql": """\
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    price REAL NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
""",
    "functions/get_item.pssql": """\
CREATE OR REPLACE FUNCTION get_item(p_id INTEGER)
RETURNS TABLE (id INTEGER, name TEXT, price REAL, created_at TIMESTAMPTZ)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT i.id, i.name, i.price, i.created_at FROM items i WHERE i.id = p_id;
END;
$$;
""",
}
FILL = f"INSERT INTO items (id, name, price) SELECT g, 'item ' || g, g * 0.5 FROM generate_series(1, {ROWS}) g"
PGBENCH_SCRIPT = f"\\set id random(1, {ROWS})\nSELECT * FROM get_item(:id);\n"


class BenchError(Exception):
    """Nothing that could be measured."""


class Cluster:
    """A running cluster: its HTTP server, and its Unix socket for a superuser."""

    def __init__(self, url, host, port, user):
        self.url, self.host, self.port, self.user = url.rstrip("/"), host, str(port), user
        self.bin = bin_dir()

    def connection(self):
        return ["-h", self.host, "-p", self.port, "-U", self.user]

    def psql_command(self, database):
        return [f"{self.bin}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *self.connection(), "-d", database]

    def psql(self, sql, database="postgres"):
        done = subprocess.run(self.psql_command(database), input=sql, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise BenchError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def watch(self, query, seconds, wait):
        """What a query of one value answers every so many seconds until `wait` returns. In one session: one for each look would be a load."""
        psql = subprocess.Popen(self.psql_command("postgres"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            psql.stdin.write(f"{query} \\watch {seconds}\n")
            psql.stdin.close()
            wait()
        finally:
            psql.terminate()
            answers = psql.stdout.read().split("\n")
            psql.wait()
        return [answer for answer in answers if answer]

    def request(self, method, path, body=None, content_type=None):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=300)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if response.status not in (200, 202):
            raise BenchError(f"{method} {path} answered {response.status}: {text[:500]}")
        return json.loads(text)

    def wait_for_health(self, seconds=30):
        until = time.monotonic() + seconds
        while True:
            try:
                return self.request("GET", "/health")
            except BenchError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    @contextlib.contextmanager
    def platform(self):
        """A platform of its own name, with ROWS rows; gives the name. Its database is dropped in the end."""
        name = f"bench{uuid.uuid4().hex[:8]}"
        database = f"{name}_main"
        try:
            self.register(name)
            self.psql(FILL, database)
            self.psql("VACUUM ANALYZE; CHECKPOINT;", database)
            answer = self.call(name, 7)
            if len(answer["rows"]) != 1 or answer["rows"][0].get("name") != "item 7":
                raise BenchError(f"wrong answer from /call: {answer}")
            yield name
        finally:
            self.psql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def register(self, platform, files=BUNDLE):
        boundary = uuid.uuid4().hex
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="platform"\r\n\r\n{platform}\r\n'
                f'--{boundary}\r\nContent-Disposition: form-data; name="schema"; filename="bundle.tar.gz"\r\n'
                "Content-Type: application/gzip\r\n\r\n").encode() + archive(files) + f"\r\n--{boundary}--\r\n".encode()
        return self.request("POST", "/register", body, f"multipart/form-data; boundary={boundary}")

    def call(self, platform, number):
        body = json.dumps({"platform": platform, "function": "get_item", "params": [number]})
        return self.request("POST", "/call", body.encode(), "application/json")

    def load(self, platform, connections, seconds, tenants=None):
        """Answers per second and latencies (µs) of /call over HTTP; `tenants`: the first and the last of those that are called."""
        address = urllib.parse.urlsplit(self.url)
        return measured(program("load", "-D_GNU_SOURCE", "-pthread"), address.hostname, address.port, connections, seconds, platform, ROWS,
                        *tenants or ())

    def pgbench(self, platform, connections, seconds):
        """The same of the same function, called over the Unix socket by prepared statements."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "lookup.sql")
            script.write_text(PGBENCH_SCRIPT)
            # pgbench tells averages only; the percentiles come from a log of every twentieth transaction.
            done = subprocess.run(
                [f"{self.bin}/pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", str(min(connections, 2)),
                 "-T", str(seconds), "-f", script, "--log", "--sampling-rate=0.05", f"--log-prefix={folder}/log",
                 *self.connection(), f"{platform}_main"],
                capture_output=True, text=True)
            if done.returncode:
                raise BenchError(f"pgbench: {done.stderr.strip()}")
            micros = [int(line.split()[2]) for log in glob.glob(f"{folder}/log.*") for line in open(log)]
        cuts = statistics.quantiles(micros, n=100)
        return {"rate": float(re.search(r"tps = ([\d.]+)", done.stdout)[1]), "p50": cuts[49], "p99": cuts[98]}

    def processes(self, title):
        """The postmaster's children whose title starts with `title`, as {pid: title}."""
        checkpointer = self.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        postmaster = parent(checkpointer)
        found = {}
        for folder in glob.glob("/proc/[0-9]*"):
            pid = folder.rpartition("/")[2]
            with contextlib.suppress(OSError):
                # "postgres: ", where the setting cluster_name is on its name and ": ", and then the worker's own title
                shown = Path(folder, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if parent(pid) == postmaster and re.match(rf"postgres: (\S+: )?{re.escape(title)}", shown):
                    found[pid] = shown.partition("postgres: ")[2]
        return found

    def described(self):
        """One line on what is measured, for the head of a report."""
        cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        version = self.psql("SELECT extversion FROM pg_extension WHERE extname = 'stonescriptdb'")
        return (f"stonescriptdb {version or '(not installed)'}, PostgreSQL {self.psql('SHOW server_version').split()[0]}, "
                f"{os.cpu_count()} cores{f' ({cpu[1]})' if cpu else ''}, {time.strftime('%Y-%m-%d', time.gmtime())}.")


@functools.cache
def program(name, *flags):
    """The path of a C program of this folder, compiled."""
    require("cc")
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    done = subprocess.run(["cc", "-O2", HERE / f"{name}.c", "-o", folder / name, *flags], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"cc: {done.stderr}")
    return folder / name


def measured(*command):
    """The figures that one of them prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"{command[0].name}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return {name: float(value) for name, value in (figure.split("=") for figure in done.stdout.split())}


def parent(pid):
    return re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def archive(files=BUNDLE):
    """A bundle as a tar.gz."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"postgresql/{path}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


def bin_dir():
    config = os.environ.get("PG_CONFIG") or f"/usr/lib/postgresql/{os.environ.get('PG_VERSION', '15')}/bin/pg_config"
    if not os.access(config, os.X_OK):
        raise BenchError(f"there is no {config}: set PG_CONFIG")
    return subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def open_cluster():
    """The cluster of the environment, or a temporary one."""
    if url := os.environ.get("SSDB_URL"):
        if not os.environ.get("PGHOST"):
            raise BenchError('SSDB_URL without PGHOST: use eval "$(make -s env)", or neither for a temporary cluster')
        yield Cluster(url, os.environ["PGHOST"], os.environ.get("PGPORT", "5432"), os.environ.get("PGUSER", "postgres"))
    else:
        with temporary_cluster() as cluster:
            yield cluster


@contextlib.contextmanager
def temporary_cluster(**settings):
    bin, port = bin_dir(), free_port()
    # PostgreSQL does not run as root. Nobody else enters the folder, so that its socket can be trusted.
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="ssdb-bench-", dir="/tmp")
    data = f"{folder}/data"

    def run(*command):
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              **user)
        if done.returncode:
            log = Path(folder, "log")
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise BenchError(f"{command[0]}: {done.stderr.strip()}\n{tail}")

    try:
        if user:
            shutil.chown(folder, "postgres", "postgres")
        run(f"{bin}/initdb", "-D", data, "--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8",
            "--locale=C.UTF-8", "--no-sync")
        with open(f"{data}/postgresql.conf", "a") as conf:
            conf.write(f"listen_addresses = ''\nport = {port}\nunix_socket_directories = '{folder}'\nmax_worker_processes = 32\n"
                       f"shared_preload_libraries = 'stonescriptdb'\nstonescriptdb.port = {port}\n"
                       f"stonescriptdb.admin_token = '{ADMIN_TOKEN}'\n")
            conf.writelines(f"{name.replace('__', '.')} = '{value}'\n" for name, value in settings.items())
        run(f"{bin}/pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "start")
        try:
            cluster = Cluster(f"http://127.0.0.1:{port}", folder, port, "postgres")
            cluster.psql("CREATE EXTENSION stonescriptdb")
            cluster.wait_for_health()
            yield cluster
        finally:
            run(f"{bin}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def markdown(head, rows):
    """A table: the first column to the left, figures to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def require(program):
    if not shutil.which(program):
        raise BenchError(f"{program} is not installed")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run_program(main):
    """Runs main() so that a cluster is taken down whatever ends the program."""
    def terminated(*_):
        sys.exit("terminated")

    signal.signal(signal.SIGTERM, terminated)
    try:
        main()
    except BenchError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
