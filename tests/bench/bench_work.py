#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What programs do, under a mount and in the bare directory, in turn; and how cost grows.

usage: bench_work.py POOLFS NULL_SERVER
Rows of markdown tables.  Each figure is the median of BENCH_ROUNDS (3) rounds of the time that a
piece of work takes, a ratio is the bare directory's time by the mount's.  Cold means that neither
the pool nor a kernel's cache has any of the file: each round drops both, and sees that it is so.
BENCH_PARTS: of "cold programs writes growth pools" only those; BENCH_MODES: the cache modes, "none
keep" without it; BENCH_DIR (else TMPDIR, else /tmp) needs 6 GiB; BENCH_MIB is how much is written
in one piece of work (1024), BENCH_COLD_MIB how large the file is that is read cold (1024),
BENCH_POOL_MIB how large the largest pool is (8192).
"""

import errno
import glob
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
COLD_READS = 2000
SMALL_MIB = 32
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
COLD_MIB = int(os.environ.get("BENCH_COLD_MIB", "1024"))
WRITE_MIB = int(os.environ.get("BENCH_MIB", "1024"))
MODES = os.environ.get("BENCH_MODES", "none keep").split()
BENCH_COLD = os.path.join(os.path.dirname(os.path.abspath(sys.argv[2])), "bench_cold")
SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def quietly(*args, **kw):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


class Mount:
    """HOME/mounted is reached through the mount, HOME/bare is not."""

    def __init__(self, poolfs, work, mode, cache_mib):
        self.poolfs = poolfs
        self.home, self.point = work + "/home", work + "/mnt"
        for d in (self.point, self.home + "/mounted", self.home + "/bare"):
            os.makedirs(d, exist_ok=True)
        quietly(poolfs, "-o", f"cache={mode},allow_other", f"--cache-size={cache_mib}M", self.home,
                self.point)
        self.mounted, self.bare = self.point + "/files/mounted", self.home + "/bare"

    def end(self):
        os.unlink(self.point + "/regions/mpool")
        quietly(self.poolfs, "-u", self.point)

    def daemon(self, key):
        with open(self.point + "/stat/daemon", encoding="ascii") as f:
            return int(dict(line.split(None, 1) for line in f)[key])

    def drop(self, name):
        """Nobody has anything of the file name: no kernel, whichever way, and not the pool."""
        paths = [self.mounted, self.home + "/mounted", self.bare]
        fds = [os.open(p + "/" + name, os.O_RDONLY) for p in paths]
        for fd in fds:
            os.fsync(fd)
        forget(fds[0])
        with open(self.point + "/ctl", "w", encoding="ascii") as f:
            f.write(f"evict {self.home}/mounted/{name}\n")
        for fd in fds:
            forget(fd)
            os.close(fd)


def forget(fd):
    """A page that somebody is just looking at stays: so more than once."""
    for _ in range(100):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return
        except OSError as e:
            if e.errno != errno.EOPNOTSUPP:
                raise
            return
        time.sleep(0.05)
    sys.exit("bench_work: the OS cache still has the file")


def took(work, *args):
    begun = time.monotonic()
    work(*args)
    return time.monotonic() - begun


def row(what, mode, work, *dirs, before=None):
    """work(DIRECTORY) in each in turn; the first is the mount's."""
    times = [[] for d in dirs]
    for _ in range(ROUNDS):
        for t, d in zip(times, dirs):
            if before is not None:
                before(d)
            t.append(took(work, d))
    figures = [statistics.median(t) for t in times]
    print_row(what, mode, figures)
    return figures


def print_row(what, mode, figures):
    said = " | ".join(f"{f * 1000:.1f}" for f in figures)
    print(f"| {what}, {mode} | {said} | {figures[1] / figures[0]:.2f} |", flush=True)


def jobs(n, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


# --- cold reads ------------------------------------------------------------------------------


def make_file(path, mib):
    with open(path, "wb") as f:
        for _ in range(mib):
            f.write(os.urandom(MIB))
        os.fsync(f.fileno())


def read_at_random(path, n):
    def one(i):
        r = random.Random(i)
        fd = os.open(path, os.O_RDONLY)
        for _ in range(COLD_READS // n):
            assert len(os.pread(fd, 4096, r.randrange(COLD_MIB * 256) * 4096)) == 4096
        os.close(fd)

    jobs(n, one)


def cold(m, mode):
    for d in (m.home + "/mounted", m.bare):
        make_file(d + "/cold", COLD_MIB)
    kinds = (("sequential, 1 MiB", [str(MIB)]), ("random, 4 KiB", ["4096", str(5 * COLD_READS)]))
    for n in ("1", "2"):
        for what, args in kinds:
            row(f"cold read, {what}, {n} job(s)", mode,
                lambda d, n=n, args=args: quietly(BENCH_COLD, d + "/cold", n, *args),
                m.mounted, m.bare, before=lambda d: m.drop("cold"))


# --- programs --------------------------------------------------------------------------------


def clean(d):
    for name in ("clone", "tree", "new", "copy.tar", "db"):
        path = d + "/" + name
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)


def write_all(path, piece, mib):
    data = os.urandom(piece)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for at in range(0, mib * MIB, piece):
        assert os.pwrite(fd, data, at) == piece
    os.fsync(fd)
    os.close(fd)


def insert(d, journal):
    db = sqlite3.connect(d + "/db", isolation_level=None)
    db.execute(f"pragma journal_mode={journal}")
    db.execute("create table t (a integer primary key, b text)")
    for n in range(100):
        db.execute("begin")
        for i in range(10):
            db.execute("insert into t (b) values (?)", (f"{n} {i}" * 20,))
        db.execute("commit")
    db.close()


def programs(m, mode):
    both = m.mounted, m.bare
    for d in both:
        os.makedirs(d + "/src", exist_ok=True)
        quietly("sh", "-c", f"cd '{SOURCES}' && tar cf - --exclude=build --exclude=.git . |"
                f"tar xf - -C '{d}/src'")
    row("tar cf", mode, lambda d: quietly("tar", "cf", d + "/copy.tar", "-C", d, "src"),
        *both, before=clean)
    row("tar xf", mode, lambda d: quietly("tar", "xf", "/dev/stdin", "-C", d + "/tree",
        stdin=open(m.bare + "/copy.tar", "rb")), *both,
        before=lambda d: (shutil.rmtree(d + "/tree", True), os.mkdir(d + "/tree")))
    row("grep -r", mode, lambda d: quietly("grep", "-rc", "include", d + "/src"), *both)
    if shutil.which("git") and os.path.exists(SOURCES + "/.git"):
        row("git clone", mode, lambda d: quietly("git", "clone", "-q", "--no-hardlinks",
            "file://" + SOURCES, d + "/clone"), *both, before=clean)
    for journal in ["delete"] + (["wal"] if mode != "none" else []):
        row(f"sqlite, 100 transactions, {journal}", mode, lambda d, j=journal: insert(d, j),
            *both, before=clean)
    if PG_BIN:
        databases(m, mode)
    with open(m.point + "/stat/pool", "rb") as f, open(m.bare + "/pool", "wb") as g:
        g.write(f.read())
    row("cat of a status file, 20 times", mode,
        lambda d: [quietly("cat", d + "/pool") for _ in range(20)], m.point + "/stat", m.bare)


def writes(m, mode, null):
    for piece, what in ((MIB, "1 MiB"), (4096, "4 KiB")):
        f = row(f"{WRITE_MIB} MiB in pieces of {what}, fsync", mode,
                lambda d, p=piece: write_all(d + ("/file" if d == null else "/new"), p, WRITE_MIB),
                m.mounted, m.bare, null, before=clean)
        print(f"|   as much of the null server's time and the bare directory's together | "
              f"{(f[1] + f[2]) / f[0]:.2f} | | | |", flush=True)


# --- a database server -----------------------------------------------------------------------

PG_BIN = "".join(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:])
PG_PORT = "54329"


class Postgres:
    """A server of its own whose data are in DIRECTORY/pg; it does not run as root."""

    def __init__(self, d):
        self.data = d + "/pg"
        os.mkdir(self.data)
        shutil.chown(self.data, "postgres", "postgres")
        self.run("initdb", "-D", self.data, "-A", "trust")
        self.run("pg_ctl", "-D", self.data, "-w", "-l", self.data + "/log", "-o",
                 f"-p {PG_PORT} -k /tmp -c listen_addresses=", "start")
        self.bench("-i", "-s", "5", "-q")

    def run(self, program, *args):
        quietly("runuser", "-u", "postgres", "--", PG_BIN + "/" + program, *args, cwd="/")

    def bench(self, *args):
        self.run("pgbench", "-h", "/tmp", "-p", PG_PORT, *args, "postgres")

    def end(self):
        self.run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")
        shutil.rmtree(self.data)


def databases(m, mode):
    kinds = (("pgbench, 2 clients, 1000 transactions", ("-n", "-c", "2", "-j", "2", "-t", "500")),
             ("pgbench -S, 2 clients, 20000 selects", ("-n", "-S", "-c", "2", "-j", "2", "-t",
                                                       "10000")))
    times = {}
    for d in (m.mounted, m.bare):
        server = Postgres(d)
        try:
            for what, args in kinds:
                times[what, d] = statistics.median(
                    took(server.bench, *args) for _ in range(ROUNDS))
        finally:
            server.end()
    for what, _ in kinds:
        print_row(what, mode, [times[what, d] for d in (m.mounted, m.bare)])


# --- how cost grows --------------------------------------------------------------------------


def small_files(d, n):
    for i in range(n):
        fd = os.open(f"{d}/{i % 100}/{i}", os.O_RDONLY)
        os.read(fd, 4096)
        os.close(fd)


def growth(m, mode, most):
    quietly("cat", m.mounted + "/cold")
    for readers in (1, 4, 16):
        t = took(jobs, readers, lambda i: read_at_random(m.mounted + "/cold", 1))
        print(f"| {readers} reader(s), 4 KiB, {mode}: us a read | "
              f"{t * 1e6 / COLD_READS / readers:.1f} |", flush=True)
    for n in (10, 1000, 100000):
        if n > most:
            break
        d = f"{m.home}/mounted/many{n}"
        for i in range(min(n, 100)):
            os.makedirs(f"{d}/{i}")
        for i in range(n):
            with open(f"{d}/{i % 100}/{i}", "wb") as f:
                f.write(b"x" * 100)
        small_files(m.mounted + f"/many{n}", n)
        t = took(small_files, m.mounted + f"/many{n}", n)
        print(f"| {n} files opened, read, closed, {mode}: us a file; the daemon's own MiB | "
              f"{t * 1e6 / n:.1f}; {private_kib(m.daemon('pid')) / 1024:.1f} |", flush=True)


def fill(m, mib):
    """The pool, with a hole, which is as good as data; the OS cache does not keep it."""
    open(m.home + "/mounted/filler", "wb").close()
    os.truncate(m.home + "/mounted/filler", mib * MIB)
    with open(m.home + "/mounted/filler", "rb") as f, \
            open(m.mounted + "/filler", "rb", buffering=0) as g:
        for at in range(0, mib, 256):
            for _ in range(min(256, mib - at)):
                assert len(g.read(MIB)) == MIB
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def pools(poolfs, work, mode):
    """The same requests to pools that are full."""
    for mib in (64, int(os.environ.get("BENCH_POOL_MIB", "8192"))):
        m = Mount(poolfs, work, mode, mib)
        try:
            fill(m, mib)
            make_file(m.home + "/mounted/cold", SMALL_MIB)
            r = random.Random(mib)
            at = [r.randrange(SMALL_MIB * 256) * 4096 for _ in range(COLD_READS)]
            fd = os.open(m.mounted + "/cold", os.O_RDONLY)
            while len(os.read(fd, MIB)) == MIB:
                pass
            t = statistics.median(took(lambda f=fd, a=at: [os.pread(f, 4096, n) for n in a])
                                  for _ in range(ROUNDS))
            os.close(fd)
            print(f"| pool of {mib} MiB, full, {mode}: us a read of 4 KiB; the daemon's own MiB | "
                  f"{t * 1e6 / COLD_READS:.1f}; {private_kib(m.daemon('pid')) / 1024:.1f} |",
                  flush=True)
        finally:
            m.end()
            shutil.rmtree(m.home)


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(dict(line.split(":") for line in f.readlines()[1:])["Anonymous"].split()[0])


def start_null(null_server, mode, point):
    os.makedirs(point, exist_ok=True)
    p = subprocess.Popen([null_server, mode, str(WRITE_MIB), point])
    while not os.path.ismount(point):
        if p.poll() is not None:
            sys.exit("bench_work: the null server does not start")
        time.sleep(0.05)
    return p


def measure(poolfs, null_server, work, mode):
    wanted = os.environ.get("BENCH_PARTS", "cold programs writes growth pools").split()
    null = work + "/null"
    m = Mount(poolfs, work, mode, 1536)
    server = start_null(null_server, mode, null)
    try:
        if "cold" in wanted or "growth" in wanted:
            cold(m, mode)
        if "programs" in wanted:
            programs(m, mode)
        if "writes" in wanted:
            writes(m, mode, null + "/files")
        if "growth" in wanted:
            growth(m, mode, int(os.environ.get("BENCH_FILES", "100000")))
    finally:
        quietly("umount", null)
        server.wait()
        m.end()
        shutil.rmtree(m.home)
    if "pools" in wanted:
        pools(poolfs, work, mode)


def main():
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(1))
    base = os.environ.get("BENCH_DIR", tempfile.gettempdir())
    work = tempfile.mkdtemp(prefix="poolfs-bench-", dir=base)
    os.chmod(work, 0o755)  # a database server is another user
    print("| work | mount, ms | bare directory, ms | (null server, ms) | speed, bare = 1 |")
    print("|---|---:|---:|---:|---:|")
    try:
        for mode in MODES:
            measure(sys.argv[1], sys.argv[2], work, mode)
    finally:
        shutil.rmtree(work)


main()
