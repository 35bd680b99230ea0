# SPDX-License-Identifier: BSD-3-Clause
"""quota.py - what does not fit is refused by the write(2), and nothing else is.

In a directory of which a file may have QUOTA_BYTES on the disk, the daemon being told by the file
QUOTA_ERRNO how the disk says no (full_quota.c).
"""
import errno
import os

from checks import KEEP_SIZE, fails, fallocate, get, home, path, pattern, run

QUOTA = int(os.environ["QUOTA_BYTES"])


class _Refusing:
    def __init__(self, how):
        self.how = how

    def __enter__(self):
        with open(os.environ["QUOTA_ERRNO"] + ".new", "w") as f:
            f.write("%d" % self.how)
        os.rename(os.environ["QUOTA_ERRNO"] + ".new", os.environ["QUOTA_ERRNO"])

    def __exit__(self, *_):
        os.unlink(os.environ["QUOTA_ERRNO"])


def _is_told_at_the_write(how):
    data = pattern(QUOTA)
    fd = os.open(path("f%d" % how), os.O_RDWR | os.O_CREAT, 0o644)
    with _Refusing(how):
        for off in range(0, QUOTA - 100, 50000):
            n = min(50000, QUOTA - 100 - off)
            assert os.pwrite(fd, data[off:off + n], off) == n
        fails(how, os.pwrite, fd, b"x" * 200, QUOTA - 100)
        assert os.fstat(fd).st_size == QUOTA - 100, "what was refused is not there"
        assert os.pwrite(fd, data[QUOTA - 100:], QUOTA - 100) == 100, "to the last byte"
        os.lseek(fd, 0, os.SEEK_END)
        fails(how, os.write, fd, b"x")
        fails(how, os.pwrite, fd, b"x", 10 * QUOTA)
        fails(how, fallocate, fd, 0, 0, QUOTA + 1)
        fails(how, fallocate, fd, KEEP_SIZE, QUOTA, 1)
        assert os.pwrite(fd, b"over what is there", 5) == 18
        assert os.fstat(fd).st_size == QUOTA
        os.fsync(fd)
    want = data[:5] + b"over what is there" + data[23:]
    assert get("f%d" % how) == want
    with open(home("f%d" % how), "rb") as f:
        assert f.read() == want
    assert os.pwrite(fd, b"y", QUOTA) == 1, "once there is room"
    os.close(fd)


def edquot_is_told_at_the_write():
    _is_told_at_the_write(errno.EDQUOT)


def efbig_is_told_at_the_write():
    _is_told_at_the_write(errno.EFBIG)


def enospc_is_told_at_the_write():
    _is_told_at_the_write(errno.ENOSPC)


def an_append_that_is_refused_leaves_the_end_alone():
    a = os.open(path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    b = os.open(path("log"), os.O_WRONLY | os.O_APPEND)
    with _Refusing(errno.EDQUOT):
        os.write(a, b"1" * (QUOTA - 10))
        fails(errno.EDQUOT, os.write, b, b"2" * 11)
        assert os.write(b, b"2" * 10) == 10
        fails(errno.EDQUOT, os.write, a, b"1")
    assert get("log") == b"1" * (QUOTA - 10) + b"2" * 10
    os.close(a)
    os.close(b)


def a_hole_is_room_that_has_to_be_had():
    fd = os.open(path("hole"), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 4 * QUOTA)
    with _Refusing(errno.EDQUOT):
        fails(errno.EDQUOT, os.pwrite, fd, b"x", 2 * QUOTA)
        assert os.pread(fd, 10, 2 * QUOTA) == b"\0" * 10
        assert os.pwrite(fd, b"x", 0) == 1
    assert os.fstat(fd).st_size == 4 * QUOTA
    os.close(fd)


run(globals())
