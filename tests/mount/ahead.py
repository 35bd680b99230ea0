# SPDX-License-Identifier: BSD-3-Clause
"""ahead.py - what is read in order is read ahead of, and no more than that; see checks.py."""
import errno
import os
import time

from checks import D, KERNEL_CACHES, home, path, put, run, until

PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20
MOUNT = os.path.dirname(D)


def _made(name, mib):
    """In HOME, so that the pool has nothing of it."""
    with open(home(name), "wb") as f:
        for n in range(mib * MIB // PAGE):
            f.write(n.to_bytes(8, "little") * (PAGE // 8))
    return os.open(path(name), os.O_RDWR)


def _read(fd, offset, size):
    data = os.pread(fd, size, offset)
    for at in range(0, len(data), PAGE):
        assert data[at:at + 8] == ((offset + at) // PAGE).to_bytes(8, "little"), (offset, at)
    return data


def _resident(name):
    with open(os.path.join(MOUNT, "pages", name), encoding="ascii") as f:
        return {int(line.split()[0]) for line in f if line[0] != "#"}


def _has(name, first, end):
    return set(range(first // PAGE, end // PAGE)) <= _resident(name)


def _evicted(name):
    """False: a page of it is on its way."""
    try:
        with open(os.path.join(MOUNT, "ctl"), "w", encoding="ascii") as f:
            f.write("evict " + name + "\n")
    except OSError as e:
        assert e.errno == errno.EBUSY
        return False
    return True


def _in_order(name, size, pieces, expected):
    """A piece for which there is no room at hand is left out: then another file."""
    tries = []

    def attempt():
        tries.append(f"{name}{len(tries)}")
        fd = _made(tries[-1], 16)
        for n in range(pieces):
            _read(fd, n * size, size)
        done = _soon(lambda: _has(tries[-1], 0, expected))
        os.close(fd)
        return done

    until(attempt)


def _soon(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.01)
    return False


def who_reads_in_order_in_large_pieces_is_read_ahead_of():
    _in_order("large", MIB, 2, 3 * MIB)


def and_in_smaller_ones():
    _in_order("small", 128 * KIB, 16, 3 * MIB)


def several_readers_of_one_file_are_each_read_ahead_of():
    tries = []

    def attempt():
        tries.append(f"several{len(tries)}")
        fd = _made(tries[-1], 48)
        for n in range(2):
            for begin in (0, 16 * MIB, 32 * MIB):
                _read(fd, begin + n * MIB, MIB)
        done = _soon(lambda: all(_has(tries[-1], begin, begin + 3 * MIB)
                                 for begin in (0, 16 * MIB, 32 * MIB)))
        os.close(fd)
        os.unlink(path(tries[-1]))
        return done

    until(attempt)


def who_goes_on_is_followed():
    _in_order("on", MIB, 12, 13 * MIB)


def who_reads_here_and_there_gets_what_was_asked_for():
    fd, wanted = _made("random", 32), set()
    for n in (20, 8, 28, 0, 4, 24, 12, 16):
        _read(fd, n * MIB, MIB)
        wanted |= set(range(n * MIB // PAGE, (n + 1) * MIB // PAGE))
    # what had been asked for before that is done then
    _in_order("behind", MIB, 2, 3 * MIB)
    got = _resident("random")
    # a kernel that caches reads a little more
    assert got >= wanted and len(got - wanted) <= (8 * 64 if KERNEL_CACHES else 0), len(got)
    os.close(fd)


def the_end_of_a_file_is_no_obstacle():
    fd = _made("end", 3)
    for n in range(3):
        _read(fd, n * MIB, MIB)
    assert os.pread(fd, MIB, 3 * MIB) == b""
    os.close(fd)


def what_is_cut_off_while_it_is_read_ahead_does_not_come_back():
    fd = _made("cut", 16)
    for n in range(40):
        os.ftruncate(fd, 16 * MIB)
        os.pwrite(fd, b"x" * MIB, 6 * MIB)
        os.fsync(fd)
        until(lambda: _evicted("cut"))
        _read(fd, 0, MIB)
        _read(fd, MIB, MIB)
        _read(fd, 2 * MIB, MIB)
        os.ftruncate(fd, 3 * MIB + n * 777)
        os.ftruncate(fd, 8 * MIB)
        assert os.pread(fd, 4 * MIB, 4 * MIB) == bytes(4 * MIB), n
    os.close(fd)


def a_file_that_is_read_ahead_can_be_closed_and_removed():
    for n in range(20):
        fd = _made("removed", 8)
        _read(fd, 0, MIB)
        _read(fd, MIB, MIB)
        os.close(fd)
        os.unlink(path("removed"))
    put("removed", b"new")
    assert os.path.getsize(path("removed")) == 3


run(globals())
