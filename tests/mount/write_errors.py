# SPDX-License-Identifier: BSD-3-Clause
"""write_errors.py - who is told that a write-back failed.

Usage: write_errors.py MOUNT HOME FAULT.  While the file FAULT holds a word, the daemon's writes to
files whose path ends in it fail (fail_writes.c).  Prints a TAP line for each function of CHECKS.
"""
import errno
import os
import signal
import sys
import traceback

from checks import KERNEL_CACHES, until

MOUNT, HOME, FAULT = sys.argv[1:4]
FILES = MOUNT + "/files/"
LOG = FAULT + ".log"
DATA = bytes(range(256)) * 64


def failures():
    return os.path.getsize(LOG) if os.path.exists(LOG) else 0


class Failing:
    """with Failing(word): the disk fails; wait() until it has failed once more."""

    def __init__(self, word):
        self.word = word

    def __enter__(self):
        self.before = failures()
        with open(FAULT + ".new", "w") as f:
            f.write(self.word)
        os.rename(FAULT + ".new", FAULT)
        return self

    def wait(self):
        until(lambda: failures() != self.before)

    def __exit__(self, *_):
        os.unlink(FAULT)


def result(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "ok"


def make(name, flags=0):
    return os.open(FILES + name, os.O_RDWR | os.O_CREAT | flags, 0o644)


def wanted(want, *got):
    assert list(got) == want.split(), (want, got)


def in_home(name):
    with open(HOME + "/" + name, "rb") as f:
        return f.read()


def the_writer_in_the_background_fails_and_each_descriptor_is_told_once():
    a, b, other = make("one"), make("one"), make("other")
    with Failing("one") as disk:
        os.pwrite(a, DATA, 0)
        os.pwrite(other, DATA, 0)
        disk.wait()
    wanted("ok", result(os.fsync, other))
    wanted("EIO ok", result(os.fsync, a), result(os.fsync, a))
    late = make("one")
    wanted("ok", result(os.fsync, late))
    wanted("EIO ok", result(os.fsync, b), result(os.fsync, b))
    assert in_home("one") == DATA
    for fd in (a, b, late, other):
        wanted("ok", result(os.close, fd))


def an_fsync_that_fails_is_told_to_the_others_too():
    a, b = make("two"), make("two")
    with Failing("two"):
        os.pwrite(a, DATA, 0)
        wanted("EIO EIO", result(os.fsync, a), result(os.fsync, a))
        assert os.pread(b, len(DATA), 0) == DATA
    wanted("ok", result(os.fsync, a))
    wanted("EIO ok", result(os.fsync, b), result(os.fsync, b))
    assert in_home("two") == DATA
    os.close(a)
    os.close(b)


def close_tells_and_leaves_it_to_fsync():
    a = make("three")
    b = os.dup(a)
    with Failing("three") as disk:
        os.pwrite(a, DATA, 0)
        disk.wait()
    wanted("EIO", result(os.close, b))
    wanted("EIO ok", result(os.fsync, a), result(os.fsync, a))
    wanted("ok", result(os.close, a))


def an_error_after_the_last_close_waits_for_the_next_open():
    a = make("four")
    os.pwrite(a, b"old", 0)
    os.fsync(a)
    with Failing("four") as disk:
        os.pwrite(a, DATA, 0)
        os.close(a)
        disk.wait()
    a, b = make("four"), make("four")
    wanted("EIO ok", result(os.fsync, a), result(os.fsync, a))
    assert os.pread(b, len(DATA), 0) == DATA
    assert in_home("four") == DATA
    os.close(a)
    wanted("EIO", result(os.fsync, b))
    os.close(b)


def other_calls_that_meet_with_it_do_not_swallow_it():
    # where the kernel caches, a file that is open for writing is shown without holes
    seek = [] if KERNEL_CACHES else [lambda fd: os.lseek(fd, 0, os.SEEK_DATA)]
    for i, call in enumerate((*seek,
                              lambda fd: os.utime(fd, ns=(1, 1)),
                              lambda fd: os.fsync(top))):
        name = "five%d" % i
        a, b = make(name), make(name)
        top = os.open(MOUNT, os.O_RDONLY)
        with Failing(name):
            os.pwrite(a, DATA, 0)
            result(call, a)
        wanted("EIO ok", result(os.fsync, a), result(os.fsync, a))
        wanted("EIO ok", result(os.fsync, b), result(os.fsync, b))
        for fd in (a, b, top):
            os.close(fd)


def o_sync_is_told_at_the_write():
    fd = os.open(FILES + "six", os.O_WRONLY | os.O_CREAT | os.O_SYNC, 0o644)
    with Failing("six"):
        wanted("EIO", result(os.pwrite, fd, b"x", 0))
    wanted("ok", result(os.pwrite, fd, b"y", 0))
    assert in_home("six") == b"y"
    os.close(fd)


def others_read_while_one_file_cannot_be_written():
    with open(HOME + "/many", "wb") as f:
        f.write(DATA * 200)
    a = make("seven")
    with Failing("seven"):
        for i in range(32):
            os.pwrite(a, DATA, i * len(DATA))
        with open(FILES + "many", "rb", buffering=0) as f:
            assert f.read() == DATA * 200
        assert os.pread(a, 1 << 20, 0) == DATA * 32
    result(os.fsync, a)
    wanted("ok", result(os.fsync, a))
    assert in_home("seven") == DATA * 32
    os.close(a)


def what_has_no_name_and_cannot_be_written_stays_in_the_pool():
    # past the kernel's cache: what that has pages of is not closed to make room
    a = make("eight", os.O_APPEND)
    os.unlink(FILES + "eight")
    with Failing("eight (deleted)") as disk:
        os.pwrite(a, DATA, 0)
        others = [make("beside%d" % i) for i in range(200)]  # more than the pool has room for
        assert os.pread(a, len(DATA), 0) == DATA
        for fd in others:
            os.close(fd)
        assert failures() > disk.before
    wanted("EIO ok", result(os.fsync, a), result(os.fsync, a))
    assert os.pread(a, len(DATA), 0) == DATA
    os.close(a)


def what_is_to_be_durable_is_fsynced_in_home():
    """Each way to ask for it meets with a disk on which nothing but fsync(2) fails."""
    os.mkdir(FILES + "nine.d")
    plain, top = make("nine"), os.open(FILES + "nine.d", os.O_RDONLY)
    synced, dsynced = make("nine", os.O_SYNC), make("nine", os.O_DSYNC)
    ways = [lambda: os.fsync(plain), lambda: os.fdatasync(plain),
            lambda: os.pwrite(synced, DATA, 0), lambda: os.pwrite(dsynced, DATA, 0),
            lambda: os.pwritev(plain, [DATA], 0, os.RWF_DSYNC),
            lambda: os.pwritev(plain, [DATA], 0, os.RWF_SYNC)]
    for way in ways:
        os.pwrite(plain, DATA, 0)
        with Failing("fsync nine"):
            wanted("EIO", result(way))
        result(way)
        wanted("ok", result(way))
    with Failing("fsync nine.d"):
        wanted("EIO EIO", result(os.fsync, top), result(os.fdatasync, top))
    wanted("ok", result(os.fsync, top))
    assert in_home("nine") == DATA
    for fd in (plain, synced, dsynced, top):
        result(os.close, fd)  # not each was told of each


CHECKS = (
    the_writer_in_the_background_fails_and_each_descriptor_is_told_once,
    an_fsync_that_fails_is_told_to_the_others_too,
    close_tells_and_leaves_it_to_fsync,
    an_error_after_the_last_close_waits_for_the_next_open,
    other_calls_that_meet_with_it_do_not_swallow_it,
    o_sync_is_told_at_the_write,
    others_read_while_one_file_cannot_be_written,
    what_has_no_name_and_cannot_be_written_stays_in_the_pool,
    what_is_to_be_durable_is_fsynced_in_home,
)


def main():
    failed = 0
    for i, f in enumerate(CHECKS, 1):
        signal.alarm(120)
        try:
            f()
            print("ok %d - %s" % (i, f.__name__), flush=True)
        except BaseException:
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print("not ok %d - %s" % (i, f.__name__), flush=True)
            failed = 1
    sys.exit(failed)


main()
