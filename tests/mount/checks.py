# SPDX-License-Identifier: BSD-3-Clause
"""checks.py - what the Python parts of the mount tests share.

Each is run as SCRIPT DIRECTORY HOME_DIRECTORY: one directory of the mount, and the same one as HOME
has it, to look behind.  Each function of a script is one check; run() prints their TAP lines.
"""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
import traceback

D, HOME = sys.argv[1], sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p,
                           ctypes.c_uint]
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mmap.restype = ctypes.c_void_p
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
AT_FDCWD = -100
KERNEL_CACHES = os.environ.get("MOUNT_CACHE", "none") != "none"


class Handle(ctypes.Structure):
    """struct file_handle"""
    _fields_ = [("n", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_char * 128)]


def path(name):
    return os.path.join(D, name)


def home(name):
    return os.path.join(HOME, name)


def put(name, data):
    with open(path(name), "wb") as f:
        f.write(data)


def put_home(name, data):
    """Behind the mount, so that the pool has nothing of it."""
    with open(home(name), "wb") as f:
        f.write(data)


def get(name):
    with open(path(name), "rb") as f:
        return f.read()


def fails(wanted, call, *args, **kw):
    try:
        call(*args, **kw)
    except OSError as e:
        assert e.errno == wanted, (errno.errorcode[e.errno], errno.errorcode[wanted])
        return
    raise AssertionError("it succeeded instead of " + errno.errorcode[wanted])


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "not within a minute"
        time.sleep(0.01)


def _done(result):
    if result != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def fallocate(fd, mode, offset, length):
    _done(libc.fallocate(fd, mode, offset, length))


def rename_with(flags, old, new):
    _done(libc.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags))


def pattern(n, seed=1):
    return bytes((i * 7 + i // 251 + seed) & 255 for i in range(n))


def as_user(uid, gid, groups, fn):
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            fn()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


class Client:
    """$TEST_BIN/pool_client on the pool of the HOME that the tested directory lies in."""

    COMMAND = [os.path.join(os.environ.get("TEST_BIN", "."), "pool_client"), os.path.dirname(HOME)]

    def __init__(self, command=None):
        self.process = subprocess.Popen(command or self.COMMAND, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    @classmethod
    def after_removal(cls):
        """It removes the pool by force when it is told to begin, and makes another one."""
        return cls(["sh", "-c", 'read -r _ && "$@" unlink 2>/dev/null && exec "$@" create', "sh",
                    *cls.COMMAND])

    def tell(self, command, *names, text=None):
        """Names are of the tested directory.  The words; nobody waits for the answer."""
        words = [command] + [os.path.join(os.path.basename(HOME), n) for n in names]
        words += [text] if text is not None else []
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()
        return words

    def ask(self, *args, **kw):
        """As tell().  What it says, without the "ok" behind it."""
        words, said = self.tell(*args, **kw), []
        while True:
            line = self.process.stdout.readline().decode().rstrip("\n")
            assert line and not line.startswith("error"), (words, line)
            if line == "ok":
                return "\n".join(said)
            said.append(line)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


def client_of(name):
    """One that has opened the file."""
    c = Client()
    c.ask("open", name)
    return c


def run(namespace, limit=120):
    """Every function that the script itself defines; what one returns is why it was skipped."""
    checks = [f for f in namespace.values() if callable(f) and
              getattr(f, "__module__", "") == "__main__" and not f.__name__.startswith("_")]
    failed = 0
    for i, f in enumerate(checks, 1):
        signal.alarm(limit)
        try:
            why = f()
            print("ok %d - %s%s" % (i, f.__name__, " # SKIP " + why if why else ""), flush=True)
        except BaseException:
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print("not ok %d - %s" % (i, f.__name__), flush=True)
            failed = 1
    print("1..%d" % len(checks))
    sys.exit(failed)
