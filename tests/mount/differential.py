# SPDX-License-Identifier: BSD-3-Clause
"""differential.py - the same random operations on the mount and on a bare directory.

Usage: differential.py MOUNTED BARE SEED OPERATIONS.  After each operation the results, errors
included, must be the same; now and then, and at the end, the two trees are compared byte for byte.
With USERS=yes each operation is one of three users', root among them, who also change modes and
owners.
"""
import ctypes
import os
import random
import stat
import sys
import tempfile

A, B = sys.argv[1], sys.argv[2]
rnd = random.Random(int(sys.argv[3]))
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
NAMES = ["n%d" % i for i in range(8)]
DIRS = ["", "d0/", "d1/", "d0/e/"]
LARGEST = 1 << 18
handles = []
now = 0


def a_path():
    return rnd.choice(DIRS) + rnd.choice(NAMES)


def both(fn):
    """fn(root) on both sides: its result, or its errno."""
    results = []
    for root in (A, B):
        try:
            results.append(fn(root))
        except OSError as e:
            results.append(("error", e.errno))
    assert results[0] == results[1], "mount %.300r bare %.300r" % tuple(results)
    return results[0]


def a_length():
    return rnd.choice((1, 2, 511, 512, 513, 4095, 4096, 4097, 10000, 65536, rnd.randrange(LARGEST)))


def an_offset():
    return rnd.choice((0, 1, 4095, 4096, 4097, 8192, rnd.randrange(LARGEST)))


def op_open():
    name = a_path()
    flags = rnd.choice((os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND))
    flags |= rnd.choice((0, os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC,
                         os.O_CREAT | os.O_TRUNC, os.O_NOFOLLOW))
    mode = rnd.choice((0o644, 0o600, 0o444, 0o755))
    fds = []

    def fn(root):
        fds.append(os.open(root + name, flags, mode))
        return "open"
    if both(fn) == "open":
        handles.append((fds[0], fds[1], name))
        if len(handles) > 20:
            op_close()
    return "open %s %o" % (name, flags)


def pick():
    return rnd.choice(handles) if handles else None


def on_handle(fn):
    """fn(fd) on the two descriptors of one open file."""
    h = pick()
    if h is None:
        return
    results = []
    for fd in h[:2]:
        try:
            results.append(fn(fd))
        except OSError as e:
            results.append(("error", e.errno))
    assert results[0] == results[1], "%s mount %.300r bare %.300r" % (h[2], *results)


def op_close():
    if handles:
        h = handles.pop(rnd.randrange(len(handles)))
        os.close(h[0])
        os.close(h[1])


def op_write():
    data, off = rnd.randbytes(a_length()), an_offset()
    on_handle(lambda fd: os.pwrite(fd, data, off))
    return "write %d at %d" % (len(data), off)


def op_read():
    n, off = a_length(), an_offset()
    on_handle(lambda fd: os.pread(fd, n, off))
    return "read %d at %d" % (n, off)


def op_ftruncate():
    n = rnd.choice((0, an_offset()))
    on_handle(lambda fd: os.ftruncate(fd, n))
    return "ftruncate %d" % n


def op_fstat():
    on_handle(lambda fd: describe(os.fstat(fd)))


def op_fsync():
    on_handle(os.fsync)


def fallocate_modes():
    """Those of 0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE that the bare directory has."""
    with tempfile.TemporaryFile(dir=B) as f:
        return [m for m in (0, 1, 1 | 2, 16, 16 | 1)
                if libc.fallocate(f.fileno(), m, 0, 4096) == 0]


def op_fallocate():
    off, n, mode = an_offset(), a_length(), rnd.choice(MODES)

    def fn(fd):
        if libc.fallocate(fd, mode, off, n) != 0:
            raise OSError(ctypes.get_errno(), "")
    on_handle(fn)
    return "fallocate %d %d %d" % (mode, off, n)


def op_truncate():
    name, n = a_path(), an_offset()
    both(lambda root: os.truncate(root + name, n))
    return "truncate %s %d" % (name, n)


def op_rename():
    a, b = a_path(), a_path()
    both(lambda root: os.rename(root + a, root + b))
    return "rename %s %s" % (a, b)


def op_link():
    a, b = a_path(), a_path()
    both(lambda root: os.link(root + a, root + b, follow_symlinks=False))
    return "link %s %s" % (a, b)


def op_symlink():
    a, b = rnd.choice(NAMES), a_path()
    both(lambda root: os.symlink(a, root + b))
    return "symlink %s %s" % (a, b)


def op_unlink():
    a = a_path()
    both(lambda root: os.unlink(root + a))
    return "unlink %s" % a


def op_mkdir():
    a = rnd.choice((a_path(), rnd.choice(DIRS[1:])[:-1]))
    both(lambda root: os.mkdir(root + a))
    return "mkdir %s" % a


def op_rmdir():
    a = rnd.choice((a_path(), rnd.choice(DIRS[1:])[:-1]))
    both(lambda root: os.rmdir(root + a))
    return "rmdir %s" % a


def op_chmod():
    a, mode = a_path(), rnd.choice((0o644, 0o600, 0o755, 0o400))
    both(lambda root: os.chmod(root + a, mode))
    return "chmod %s %o" % (a, mode)


def op_chmod_any():
    a, mode = rnd.choice((a_path(), rnd.choice(DIRS))), rnd.choice((
        0, 0o600, 0o666, 0o755, 0o777, 0o1777, 0o2755, 0o2777, 0o4755, 0o6777, 0o2660, 0o070))
    both(lambda root: os.chmod(root + a, mode))
    return "chmod %s %o" % (a, mode)


def op_chown():
    a = rnd.choice((a_path(), a_path(), rnd.choice(DIRS)))
    uid, gid = (rnd.choice((-1, 0, 1000, 1001, 1002)) for _ in range(2))
    both(lambda root: os.chown(root + a, uid, gid, follow_symlinks=False))
    return "chown %s %d %d" % (a, uid, gid)


def op_access():
    a, mode = rnd.choice((a_path(), rnd.choice(DIRS))), rnd.choice((os.R_OK, os.W_OK, os.X_OK))
    both(lambda root: os.access(root + a, mode, effective_ids=True))
    return "access %s %d" % (a, mode)


def op_utime():
    a, t = a_path(), rnd.randrange(10**18)
    if both(lambda root: os.utime(root + a, ns=(t, t), follow_symlinks=False)) is None:
        both(lambda root: os.lstat(root + a).st_mtime_ns)
    return "utime %s %d" % (a, t)


def op_list():
    a = rnd.choice(DIRS)
    both(lambda root: sorted(os.listdir(root + a)))


def op_whole():
    a = a_path()

    def fn(root):
        with open(root + a, "rb") as f:
            return f.read()
    both(fn)
    return "read all of %s" % a


def describe(st):
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    return (st.st_mode, st.st_uid, st.st_gid, size,
            st.st_nlink if not stat.S_ISDIR(st.st_mode) else 0)


def tree(root):
    found = {}
    for where, dirs, files in os.walk(root):
        for name in dirs + files:
            p = os.path.join(where, name)
            st = os.lstat(p)
            what = describe(st)
            if stat.S_ISREG(st.st_mode):
                with open(p, "rb") as f:
                    what += (f.read(),)
            elif stat.S_ISLNK(st.st_mode):
                what += (os.readlink(p),)
            found[p[len(root):]] = what
    return found


def compare():
    a, b = tree(A), tree(B)
    assert a.keys() == b.keys(), (a.keys(), b.keys())
    for name, what in a.items():
        assert what == b[name], "%s: mount %.300r bare %.300r" % (name, what, b[name])


OPS = [op_open] * 12 + [op_write] * 20 + [op_read] * 10 + [op_close] * 8 + [op_ftruncate] * 3 + [
    op_fstat] * 3 + [op_fsync, op_fallocate, op_fallocate, op_truncate, op_rename, op_rename,
                     op_rename, op_link, op_link, op_symlink, op_unlink, op_unlink, op_unlink,
                     op_mkdir, op_mkdir, op_rmdir, op_chmod, op_utime, op_list, op_whole, op_whole]


USERS = [(0, 0, [])]
if os.environ.get("USERS"):
    USERS += [(1000, 1000, [1002]), (1001, 1001, [1000])]
    OPS += [op_chmod_any] * 3 + [op_chown] * 2 + [op_access] * 2


def become(uid, gid, groups):
    os.seteuid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


MODES = fallocate_modes()
if os.environ.get("NO_FALLOCATE") or not MODES:
    OPS = [op for op in OPS if op is not op_fallocate]


def main():
    global A, B
    A, B = A.rstrip("/") + "/", B.rstrip("/") + "/"
    done = []
    try:
        for i in range(int(sys.argv[4])):
            op, user = rnd.choice(OPS), rnd.choice(USERS)
            done.append("%s as %d" % (op.__name__, user[0]))
            if len(USERS) > 1:
                become(*user)
            said = op()
            if said:
                done[-1] = "%s as %d" % (said, user[0])
            if len(USERS) > 1:
                become(*USERS[0])
            if i % 500 == 499:
                compare()
        compare()
        while handles:
            op_close()
        compare()
    except AssertionError as e:
        print("# seed %s, operation %d: %s" % (sys.argv[3], len(done), e))
        for line in done[-15:]:
            print("#   " + line)
        sys.exit(1)


main()
