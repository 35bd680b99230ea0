# SPDX-License-Identifier: BSD-3-Clause
"""faults.py - each call of the daemon fails once, while programs do all that a mount is for.

Usage: faults.py HOME MOUNTPOINT ORDERS [KIND ...].  The daemon is mounted with fail_call.c
preloaded.  A piece of work (Round.run) is done over and over: in the n-th round the n-th call of a
kind fails with an error, until a round is through without meeting it.  An operation that fails may
do so with an errno that says so, has changed nothing, and succeeds when it is tried again, since
only one call failed.  After each round: what was acknowledged is there, by the mount and, after a
sync, in HOME; the walker finds no fault in the pool; no descriptor and no row is left.  Every tenth
is looked at in HOME after poolfs -u.

From the environment:

    FAULTS_STRIDE    (1) not each call fails, but one of so many
    FAULTS_TRACE     say what each fault did, and whose call it was
    FAULTS_PROBLEMS  (1) go on to the next kind after so many
    MOUNT_CACHE      the kernel's cache

Prints TAP.
"""
import errno
import fcntl
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback

from checks import fallocate, rename_with

HOME, MNT, ORDERS = sys.argv[1:4]
STRIDE = int(os.environ.get("FAULTS_STRIDE", "1"))
CACHE = os.environ.get("MOUNT_CACHE", "none")
BIN, POOLFS = os.environ["TEST_BIN"], os.environ["POOLFS"]
FILES = MNT + "/files/"
KINDS = ("MEMORY OPEN STAT READ WRITE SPACE SYNC NAME ATTRIBUTE LOCK THREAD MAP NOTICE RIGHTS "
         "BARRIER").split()
SHORT = -1
SWEEPS = [("MEMORY", "ENOMEM"), ("OPEN", "EMFILE"), ("OPEN", "ENOMEM"), ("STAT", "EIO"),
          ("STAT", "ENOMEM"), ("READ", "EIO"), ("READ", "EINTR"), ("READ", "SHORT"),
          ("WRITE", "EIO"), ("WRITE", "ENOSPC"), ("WRITE", "EINTR"), ("WRITE", "SHORT"),
          ("SPACE", "ENOSPC"), ("SPACE", "EINTR"), ("SPACE", "EIO"), ("SYNC", "EIO"),
          ("SYNC", "EINTR"), ("NAME", "ENOSPC"), ("NAME", "EIO"), ("ATTRIBUTE", "EIO"),
          ("LOCK", "ENOLCK"), ("LOCK", "EINTR"), ("THREAD", "EAGAIN"), ("MAP", "ENOMEM"),
          ("NOTICE", "ENOMEM"), ("NOTICE", "EINTR"), ("RIGHTS", "ENOMEM"), ("BARRIER", "ENOMEM")]
# Whatever failed: no room for a page whose neighbour could not be written, and the like.
ALWAYS_SENSIBLE = {errno.EIO, errno.ENOMEM, errno.EAGAIN}
PATIENCE = 60


class Problem(Exception):
    pass


def pattern(n, seed):
    unit = bytes((i * 7 + seed) & 255 for i in range(251))
    return (unit * (n // 251 + 1))[:n]


class Orders:
    """The file that fail_call.c maps."""
    BYTES = 24 + 8 * 16 + 8 * 24

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(self.BYTES))
        with open(path, "r+b") as f:
            self.m = mmap.mmap(f.fileno(), self.BYTES)

    def arm(self, kind, error, n):
        self.m[0:4] = bytes(4)
        number = SHORT if error == "SHORT" else getattr(errno, error)
        self.m[4:24] = struct.pack("=iqII", number, n, 0, 0)
        self.m[0:4] = struct.pack("I", KINDS.index(kind) + 1)

    def disarm(self):
        self.m[0:4] = bytes(4)
        return self.fired()

    def fired(self):
        return struct.unpack("I", self.m[16:20])[0] != 0

    def trace(self):
        depth = struct.unpack("I", self.m[20:24])[0]
        return struct.unpack("%dQ" % depth, self.m[152:152 + 8 * depth])


class Daemon:
    def __init__(self, orders):
        self.orders = orders
        env = dict(os.environ, LD_PRELOAD=BIN + "/libfail_call.so", FAIL_CALL=ORDERS)
        subprocess.run([POOLFS, "--cache-size=512K", "--cache-max=4M", "-o",
                        "allow_other,cache=" + CACHE, HOME, MNT], env=env, check=True, timeout=60)
        self.pid = int(os.getxattr(MNT, "user.poolfs.pid"))
        with open("/proc/%d/maps" % self.pid) as f:
            self.maps = [(int(a, 16), int(b, 16), int(w[2], 16), w[5]) for w in
                         (line.split() for line in f) if len(w) > 5
                         for a, b in [w[0].split("-")]]
        self.fds = None

    def stop(self):
        subprocess.run([POOLFS, "-u", MNT], check=True, timeout=120)

    def lives(self):
        with open("/proc/%d/stat" % self.pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"

    def descriptors(self):
        """But for those of libfuse's threads, which come and go, and of syslog."""
        paths = []
        for n in os.listdir("/proc/%d/fd" % self.pid):
            try:
                paths.append(os.readlink("/proc/%d/fd/%s" % (self.pid, n)))
            except FileNotFoundError:
                pass
        return sorted(p for p in paths if p != "/dev/fuse" and not p.startswith("socket:"))

    def answered_a_look(self):
        """Did the call that failed serve a request by which the kernel looks?"""
        return self.where(self.orders.trace()).endswith(("op_getattr", "op_lookup", "op_getxattr"))

    def where(self, trace):
        """The functions of the daemon's, from the inside."""
        ours = [hex(at - a + offset - 1) for at in trace for a, b, offset, path in self.maps
                if a <= at < b and path == POOLFS]
        out = subprocess.run(["addr2line", "-f", "-s", "-e", POOLFS] + ours,
                             capture_output=True, text=True, check=False).stdout.split("\n")
        return " < ".join(out[0::2][:10]).rstrip(" <")


class Watchdog(threading.Thread):
    """Kills a daemon that does not answer: what waits for it then fails."""

    def __init__(self):
        super().__init__(daemon=True)
        self.doing, self.since, self.daemon_pid, self.bitten = "", time.monotonic(), 0, None
        self.start()

    def now(self, doing):
        self.doing, self.since = doing, time.monotonic()

    def run(self):
        while True:
            time.sleep(1)
            if self.daemon_pid and time.monotonic() - self.since > PATIENCE:
                self.bitten = self.doing
                os.kill(self.daemon_pid, signal.SIGKILL)
                self.since = time.monotonic()


class Round:
    """One piece of work, in a directory of its own, and what it must leave."""

    def __init__(self, name, orders, error, dog, daemon):
        self.name, self.orders, self.dog, self.daemon = name, orders, dog, daemon
        self.dir, self.failures = FILES + name + "/", []
        self.sensible = ALWAYS_SENSIBLE | ({getattr(errno, error)} if error != "SHORT" else set())
        if error == "EMFILE":
            self.sensible.add(errno.ENFILE)  # it is not the caller who has too many
        if error == "ENOMEM":
            self.sensible.add(errno.ENOLCK)
        self.files = {}

    def attempt(self, what, call, *args, again=None):
        """Tries again: only one call fails.

        A system call may be several requests.  If the kernel could not look at what it had made
        just before, that is there then, and again() does what is left.
        """
        for _ in range(5):
            self.dog.now(what)
            try:
                return call(*args)
            except OSError as e:
                word = "%s: %s" % (what, errno.errorcode.get(e.errno, e.errno))
                self.failures.append(word)
                if self.dog.bitten:
                    raise Problem("%s hangs" % self.dog.bitten) from e
                if not self.orders.fired():
                    raise Problem(word + ", without a fault") from e
                if e.errno == errno.EEXIST and again and self.daemon.answered_a_look():
                    return again()
                if e.errno == errno.ENOENT and what.startswith("read /pages/"):
                    return None  # its path could not be learnt, and shows at its next open
                if e.errno not in self.sensible:
                    raise Problem(word + ", not what failed") from e
        raise Problem(what + " goes on failing: " + ", ".join(self.failures))

    # --- steps ---

    def write(self, fd, name, data, offset):
        done = 0
        while done < len(data):
            done += self.attempt("write " + name, os.pwrite, fd, data[done:], offset + done)
        f = self.files.setdefault(name, bytearray())
        f.extend(bytes(max(0, offset + len(data) - len(f))))
        f[offset:offset + len(data)] = data

    def read(self, fd, name, offset, n):
        got = self.attempt("read " + name, os.pread, fd, n, offset)
        want = bytes(self.files[name][offset:offset + n])
        # a read may be short when the rest could not be had
        if got != want and not (got and self.orders.fired() and want.startswith(got)):
            raise Problem("%s at %d: %d bytes of %d, and not those" % (name, offset, len(got), n))

    def create(self, name, mode=0o644):
        fd = self.attempt("create " + name, os.open, self.dir + name,
                          os.O_RDWR | os.O_CREAT | os.O_EXCL, mode,
                          again=lambda: os.open(self.dir + name, os.O_RDWR))
        self.files[name] = bytearray()
        return fd

    def close(self, name, fd):
        self.dog.now("close " + name)
        try:
            os.close(fd)
        except OSError as e:
            self.failures.append("close %s: %s" % (name, errno.errorcode[e.errno]))
            if not self.orders.fired() or e.errno not in self.sensible:
                raise Problem(self.failures[-1]) from e

    def cut(self, fd, name, length):
        self.attempt("truncate " + name, os.ftruncate, fd, length)
        f = self.files[name]
        del f[length:]
        f.extend(bytes(length - len(f)))

    def allocate(self, fd, name, mode, offset, n):
        self.attempt("fallocate %d %s" % (mode, name), fallocate, fd, mode, offset, n)
        f = self.files[name]
        if mode == 0:
            f.extend(bytes(max(0, offset + n - len(f))))
        elif mode != 1:
            f[offset:offset + n] = bytes(len(f[offset:offset + n]))

    def tell(self, words):
        def call():
            fd = os.open(MNT + "/ctl", os.O_WRONLY)
            try:
                os.write(fd, words.encode())
            finally:
                os.close(fd)
        self.attempt("ctl " + words.split()[0], call)

    def apart(self, what, fn):
        """In a process of its own, for what may end one."""
        def call():
            pid = os.fork()
            if pid == 0:
                try:
                    fn()
                    os._exit(0)
                except OSError as e:
                    os._exit(e.errno)
                except BaseException:
                    traceback.print_exc()
                    os._exit(255)
            status = os.waitpid(pid, 0)[1]
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS:
                raise OSError(errno.EIO, "SIGBUS")
            if status != 0:
                e = os.WEXITSTATUS(status)
                raise OSError(e, what)
        self.attempt(what, call)

    def as_user(self, what, fn):
        def call():
            os.setgroups([2345])
            os.setgid(1234)
            os.setuid(1234)
            fn()
        self.apart(what, call)

    # --- the work ---

    def run(self):
        self.attempt("mkdir", os.mkdir, self.dir, 0o755, again=list)
        self.attempt("mkdir", os.mkdir, self.dir + "sub", 0o777, again=list)
        self.bytes()
        self.names()
        self.others()
        self.mapped()
        self.beside_a_client()
        self.looking()
        self.telling()

    def bytes(self):
        a = self.create("a")
        self.write(a, "a", pattern(150000, 1), 0)
        self.write(a, "a", pattern(100, 2), 4090)
        self.attempt("fsync", os.fsync, a)
        self.write(a, "a", pattern(33333, 3), 260001)
        self.read(a, "a", 0, 131072)
        self.read(a, "a", 140000, 131072)
        self.cut(a, "a", 100001)
        self.cut(a, "a", 120000)
        self.write(a, "a", pattern(777, 4), 110000)
        self.allocate(a, "a", 0, 100000, 100000)
        self.allocate(a, "a", 1, 200000, 100000)
        self.allocate(a, "a", 3, 5000, 20000)
        self.allocate(a, "a", 17, 50000, 5000)
        self.attempt("fdatasync", os.fdatasync, a)
        self.attempt("lseek", os.lseek, a, 0, os.SEEK_DATA)
        self.attempt("fstat", os.fstat, a)
        b = self.create("b", 0o600)
        self.write(b, "b", pattern(400000, 5), 0)
        again = self.attempt("open", os.open, self.dir + "b", os.O_RDONLY)
        self.read(again, "b", 200000, 65536)
        self.close("b", again)
        append = self.attempt("open", os.open, self.dir + "b", os.O_WRONLY | os.O_APPEND)
        n = self.attempt("append", os.write, append, pattern(5000, 6))
        self.files["b"] += pattern(5000, 6)[:n]
        self.close("b", append)
        self.read(a, "a", 90000, 30000)
        self.locks(a)
        self.close("a", a)
        self.close("b", b)
        c = self.create("c")
        self.write(c, "c", pattern(9000, 7), 0)
        self.close("c", c)
        fd = self.attempt("open to cut", self.open_to_cut)
        self.files["c"] = bytearray()
        self.write(fd, "c", pattern(3000, 8), 0)
        self.close("c", fd)

    def open_to_cut(self):
        try:
            return os.open(self.dir + "c", os.O_RDWR | os.O_TRUNC)
        except OSError:
            if os.stat(self.dir + "c").st_size != 9000:
                raise Problem("an open that failed has cut the file")
            raise

    def locks(self, fd):
        other = self.attempt("open", os.open, self.dir + "a", os.O_RDWR)
        self.attempt("flock", fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.attempt("flock", fcntl.flock, fd, fcntl.LOCK_UN)
        self.attempt("flock", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.attempt("fcntl", fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)
        self.close("a", other)

    def names(self):
        d = self.dir
        self.attempt("rename", os.rename, d + "c", d + "sub/d")
        self.files["sub/d"] = self.files.pop("c")
        self.attempt("link", os.link, d + "sub/d", d + "e", again=list)
        self.files["e"] = self.files["sub/d"]
        self.attempt("symlink", os.symlink, "sub/d", d + "l", again=list)
        if self.attempt("readlink", os.readlink, d + "l") != "sub/d":
            raise Problem("readlink")
        self.attempt("mknod", os.mkfifo, d + "p", again=list)
        self.attempt("chmod", os.chmod, d + "e", 0o640)
        self.attempt("chown", os.chown, d + "e", 0, 2345)
        self.attempt("utime", os.utime, d + "e", (1000, 2000))
        self.attempt("setxattr", os.setxattr, d + "e", "user.word", b"value")
        if self.attempt("getxattr", os.getxattr, d + "e", "user.word") != b"value":
            raise Problem("getxattr")
        self.attempt("listxattr", os.listxattr, d + "e")
        for n in range(8):
            self.close("many", self.create("sub/%d" % n))
        self.attempt("rename", os.rename, d + "sub/1", d + "sub/2")
        self.files.pop("sub/1")
        self.attempt("exchange", rename_with, 2, d + "a", d + "b")
        self.files["a"], self.files["b"] = self.files["b"], self.files["a"]
        gone = self.create("gone")
        self.write(gone, "gone", pattern(20000, 9), 0)
        self.attempt("unlink", os.unlink, d + "gone")
        self.write(gone, "gone", pattern(20000, 10), 15000)
        self.read(gone, "gone", 10000, 20000)
        self.close("gone", gone)
        self.files.pop("gone")
        self.attempt("mkdir", os.mkdir, d + "away", again=list)
        self.attempt("rmdir", os.rmdir, d + "away")
        want = sorted(["a", "b", "e", "l", "p", "sub"])
        got = sorted(self.attempt("readdir", os.listdir, d))
        if got != want:
            raise Problem("readdir: %s" % got)
        self.attempt("statfs", os.statvfs, d)

    def others(self):
        """Another user: his rights are HOME's business, and never more because something failed."""
        d = self.dir

        def makes():
            fd = os.open(d + "sub/his", os.O_RDWR | os.O_CREAT, 0o664)
            os.write(fd, b"his")
            os.close(fd)
            st = os.stat(d + "sub/his")
            if (st.st_uid, st.st_gid) != (1234, 1234):
                os._exit(250)

        def may_not():
            try:
                os.close(os.open(d + "denied", os.O_RDONLY))
            except PermissionError:
                return
            os._exit(251)
        self.as_user("create of another user", makes)
        self.files["sub/his"] = bytearray(b"his")
        fd = self.create("denied", 0o644)
        self.close("denied", fd)
        # all may read it but the group 2345
        acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in (
            (1, 6, 0xffffffff), (4, 4, 0xffffffff), (8, 0, 2345), (16, 4, 0xffffffff),
            (32, 4, 0xffffffff)))
        self.attempt("setxattr", os.setxattr, d + "denied", "system.posix_acl_access", acl)
        self.as_user("open of what is denied", may_not)
        self.attempt("unlink", os.unlink, d + "denied")
        self.files.pop("denied")

    def mapped(self):
        want = bytes(self.files["a"])
        shared = CACHE != "none"

        def through_memory():
            fd = os.open(self.dir + "a", os.O_RDWR)
            m = mmap.mmap(fd, len(want), mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE)
            if m[:] not in (want, b"mapped" + want[6:]):
                os._exit(252)
            if shared:
                m[0:6] = b"mapped"
                m.flush()
                os.fsync(fd)
        self.apart("mmap", through_memory)
        if shared:
            self.files["a"][0:6] = b"mapped"

    def ask(self, tool, words):
        self.dog.now("client: " + words)
        tool.stdin.write(words + "\n")
        tool.stdin.flush()
        answer = tool.stdout.readline().rstrip("\n")
        if answer != "ok":
            raise Problem("client: %s: %s" % (words, answer))

    def beside_a_client(self):
        """What the library puts is what the mount shows, whatever the kernel had of it."""
        fd = self.attempt("open", os.open, self.dir + "b", os.O_RDWR)
        self.read(fd, "b", 0, 100000)
        with subprocess.Popen([BIN + "/pool_client", HOME], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as tool:
            self.ask(tool, "open %s/b" % self.name)
            for offset in (0, 5000, 90000):
                self.ask(tool, "put %d client" % offset)
                self.files["b"][offset:offset + 6] = b"client"
                self.read(fd, "b", 0, 100000)
        self.close("b", fd)

    def read_whole(self, path):
        def call():
            with open(path, "rb", buffering=0) as f:
                got = f.readall()
            if path.endswith(".json"):
                json.loads(got)
            return got
        got = self.attempt("read " + path[len(MNT):], call)
        if got == b"" and not path.endswith(("waits", "table")):
            raise Problem(path + " is empty")

    def looking(self):
        for d in ("stat", "regions", "locks"):
            for name in sorted(self.attempt("readdir " + d, os.listdir, MNT + "/" + d)):
                if name not in ("mpool", "lock"):
                    self.read_whole("%s/%s/%s" % (MNT, d, name))
        for name in ("README", "ctl", "map.txt", "map.svg", "map.html",
                     "pages/%s/a" % self.name):
            self.read_whole(MNT + "/" + name)
        self.attempt("readdir pages", os.listdir, MNT + "/pages/" + self.name)

    def telling(self):
        self.tell("sync")
        self.tell("trickle 50%")
        self.tell("evict " + self.name + "/b")
        self.tell("reap")
        self.tell("check")
        self.tell("grow mpool 1M")
        self.tell("shrink mpool 512K")
        self.tell("save %s.warm" % ORDERS)
        self.tell("load %s.warm" % ORDERS)

    # --- the audit ---

    def compare(self, top, where):
        for name, data in self.files.items():
            fd = os.open(top + name, os.O_RDONLY)
            got = b"".join(iter(lambda fd=fd: os.read(fd, 1 << 17), b""))
            self.close(name, fd)  # may be the first to hear of a write that failed
            if got != bytes(data):
                bad = [i for i in range(min(len(got), len(data))) if got[i] != data[i]]
                raise Problem("%s in %s: %d bytes instead of %d, %d differ, the first at %s" % (
                    name, where, len(got), len(data), len(bad), bad[:1]))
        st = os.stat(top + "e")
        if (st.st_mode & 0o7777, st.st_gid, st.st_nlink) != (0o640, 2345, 2) or \
                int(st.st_mtime) != 2000:
            raise Problem("attributes of e in " + where)
        if os.getxattr(top + "e", "user.word") != b"value":
            raise Problem("xattr of e in " + where)
        want = {"a", "b", "e", "l", "p", "sub"}
        if set(os.listdir(top)) != want:
            raise Problem("names in %s: %s" % (where, sorted(os.listdir(top))))

    def audit(self):
        self.dog.now("audit")
        self.compare(self.dir, "the mount")
        self.attempt("sync after it all", self.tell, "sync")
        self.compare(HOME + "/" + self.name + "/", "HOME")
        self.tell("check")
        with open(MNT + "/stat/check") as f:
            found = dict(line.split(None, 1) for line in f)
        if found["check_faults"].strip() != "0" or found["check_result"].strip() != "0":
            raise Problem("check: " + found["check_first"].strip())

    def remove(self):
        self.dog.now("remove")
        for top, dirs, names in os.walk(self.dir, topdown=False):
            for n in names:
                os.unlink(os.path.join(top, n))
            for n in dirs:
                os.rmdir(os.path.join(top, n))
        os.rmdir(self.dir)


class Sweeper:
    def __init__(self):
        self.orders, self.dog, self.daemon = Orders(ORDERS), Watchdog(), None
        self.rounds = self.tap = self.faults = 0
        self.failed = False

    def mount(self):
        self.orders.disarm()
        self.daemon = Daemon(self.orders)
        self.dog.daemon_pid, self.dog.bitten = self.daemon.pid, None
        for _ in range(3):
            self.round(None, "ENOMEM", 0)
        self.daemon.fds = self.settled()

    def settled(self):
        """What is open when nothing comes or goes any more."""
        before, same = self.daemon.descriptors(), 0
        while same < 3:
            time.sleep(0.02)
            now = self.daemon.descriptors()
            same = same + 1 if now == before else 0
            before = now
        return before

    def left_over(self):
        """A sentence, or None."""
        now = self.daemon.descriptors()
        if len(now) > len(self.daemon.fds):
            for fd in self.daemon.fds:
                if fd in now:
                    now.remove(fd)
            return "descriptors are left: %s" % now
        with open(MNT + "/stat/files") as f:
            rows = [line for line in f if "/w%d/" % self.rounds in line]
        return "rows are left: %s" % rows if rows else None

    def leaks(self):
        """The kernel lets go of what was removed when it likes."""
        end = time.monotonic() + PATIENCE
        while self.left_over():
            if time.monotonic() > end:
                raise Problem(self.left_over())
            time.sleep(0.02)

    def round(self, kind, error, n):
        """Did a call fail?"""
        self.rounds += 1
        r = Round("w%d" % self.rounds, self.orders, error, self.dog,
                  self.daemon)
        if kind is not None:
            self.orders.arm(kind, error, n)
        try:
            r.run()
            fired = self.orders.disarm()
            self.say(kind, error, n, r)
            if kind is not None and fired and n % 10 == 0:
                self.dog.now("poolfs -u")
                self.daemon.stop()
                r.compare(HOME + "/" + r.name + "/", "HOME after -u")
                self.dog.daemon_pid = 0
                self.mount()
            r.audit()
            r.remove()
            if self.daemon.fds is not None:
                self.leaks()
        except (Problem, OSError, ValueError, subprocess.SubprocessError) as e:
            self.orders.disarm()
            words = str(e) if isinstance(e, Problem) else traceback.format_exc()
            raise Problem("%s %s %s: %s\n(%s)\nat %s" % (
                kind, error, n, words, ", ".join(r.failures),
                self.daemon.where(self.orders.trace()))) from e
        return fired

    def say(self, kind, error, n, r):
        if os.environ.get("FAULTS_TRACE") and kind is not None and self.orders.fired():
            print("# %s %s %s: %s; at %s" % (kind, error, n, ", ".join(r.failures) or "unnoticed",
                                            self.daemon.where(self.orders.trace())), flush=True)

    def clear(self):
        """After a problem."""
        self.dog.daemon_pid = 0
        if self.daemon.lives():
            os.kill(self.daemon.pid, signal.SIGKILL)
        subprocess.run(["umount", "-l", MNT], check=False)
        subprocess.run(["rm", "-rf"] + [HOME + "/" + n for n in os.listdir(HOME)], check=False)
        self.mount()

    def sweep(self, kind, error):
        n, problems = 1 if STRIDE == 1 else 1 + (self.tap * 7) % STRIDE, 0
        while True:
            try:
                if not self.round(kind, error, n):
                    break
                self.faults += 1
            except Problem as e:
                problems += 1
                print("# " + str(e).replace("\n", "\n# "), flush=True)
                self.clear()
                if problems == int(os.environ.get("FAULTS_PROBLEMS", "1")):
                    break
            n += STRIDE
        self.tap += 1
        print("# %d calls; %d faults in all" % (n - 1, self.faults))
        print("%s %d - %s_%s" % ("not ok" if problems else "ok", self.tap, kind.lower(),
                                 error.lower()), flush=True)
        self.failed = self.failed or problems > 0


def main():
    os.umask(0)
    s = Sweeper()
    s.mount()
    chosen = sys.argv[4:]
    for kind, error in SWEEPS:
        if not chosen or kind in chosen:
            s.sweep(kind, error)
    s.daemon.stop()
    print("1..%d" % s.tap)
    sys.exit(s.failed)


main()
