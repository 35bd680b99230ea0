# SPDX-License-Identifier: BSD-3-Clause
"""cache_cases.py - what the kernel caches (-o cache=open, keep) beside a client that changes it.

The moments at which an older copy could stay, and how it ends meanwhile.  See checks.py for how it
is run; $MNT is the mount.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import tempfile
import threading

from checks import (KEEP_SIZE, PUNCH_HOLE, Client, client_of, fails, fallocate, home, libc, path,
                    put_home, run, until)

MNT = os.environ["MNT"]


def _file(name, data):
    put_home(name, data)
    return os.open(path(name), os.O_RDWR)


def what_was_read_behind_the_end_is_read_again():
    fd = _file("end", b"1" * 8192)
    os.pread(fd, 8192, 0)
    c = client_of("end")
    c.ask("cut 4096")
    assert os.pread(fd, 4096, 4096) == b""
    c.ask("extend 8192")
    c.ask("put 4096 there")
    assert os.pread(fd, 5, 4096) == b"there"
    c.end()
    os.close(fd)


def a_put_into_a_hole_just_punched_stays():
    fd = _file("hole", b"1" * 4096)
    c = client_of("hole")
    with mmap.mmap(fd, 4096) as m:
        assert m[0] == ord("1")
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 0, 2048)
        assert m[0] == 0
        m[3000] = ord("m")
        c.ask("put 0 put")
        assert m[0:4] == b"put\0" and m[3000] == ord("m")
    assert c.ask("get 0 3") == "put" and c.ask("get 3000 1") == "m"
    c.end()
    os.close(fd)


def an_append_by_a_flag_set_later_is_where_the_end_is():
    fd = _file("append", b"1" * 100)
    c = client_of("append")
    assert os.pread(fd, 100, 0) == b"1" * 100
    other = os.open(path("append"), os.O_WRONLY | os.O_APPEND)
    assert os.write(other, b"2" * 5000) == 5000
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    assert os.write(fd, b"3" * 10) == 10
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    assert os.pread(fd, 6000, 0) == b"1" * 100 + b"2" * 5000 + b"3" * 10
    assert c.ask("get 5100 10") == "3" * 10
    c.end()
    os.close(other)
    os.close(fd)


def what_a_put_adds_behind_the_end_survives_a_mapped_store_before_it():
    fd = _file("grown", b"1" * 100)
    c = client_of("grown")
    with mmap.mmap(fd, 100) as m:
        assert m[0] == ord("1")
        c.ask("extend 8192")
        c.ask("put 100 put")
        assert m[0] == ord("1")
        m[10] = ord("m")
        m.flush()
        assert os.pread(fd, 3, 100) == b"put"
    assert c.ask("get 100 3") == "put" and c.ask("get 10 1") == "m"
    c.end()
    os.close(fd)


def a_mapped_load_sees_what_a_client_adds():
    fd = _file("longer", b"1" * 4096)
    c = client_of("longer")
    at = libc.mmap(None, 16384, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    child = os.fork()
    if child == 0:
        c.ask("extend 8192")
        c.ask("put 4096 there")
        seen = ctypes.string_at(at + 4096, 5) == b"there"
        c.ask("cut 0")
        c.ask("cut 12288")
        os._exit(not seen or ctypes.string_at(at + 12287, 1) != b"\0")
    assert os.waitpid(child, 0)[1] == 0
    libc.munmap(at, 16384)
    c.end()
    os.close(fd)


def a_private_load_beside_does_not_undo_a_put():
    fd = _file("private", b"1" * 4096)
    c = client_of("private")
    os.pread(fd, 4096, 0)
    os.posix_fadvise(fd, 0, 4096, os.POSIX_FADV_DONTNEED)
    past = os.open(path("private"), os.O_RDONLY)
    with mmap.mmap(past, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ) as p, mmap.mmap(fd, 4096) as m:
        assert p[0] == ord("1")
        m[3000] = ord("m")
        c.ask("put 0 put")
        assert m[0:3] == b"put"
    assert c.ask("get 0 3") == "put" and c.ask("get 3000 1") == "m"
    c.end()
    os.close(past)
    os.close(fd)


def an_open_sees_what_was_changed_behind_the_mount():
    size = 1 << 20
    fd = _file("behind", b"1" * size)
    for i in range(150):
        for at in range(0, size, 1 << 18):
            os.pread(fd, 1 << 18, at)
        new = b"%03d" % i
        with open(home("behind"), "rb+") as f:
            f.seek(size - 3)
            f.write(new)
        with open(path("behind"), "rb") as f:
            assert os.pread(f.fileno(), 3, size - 3) == new, i
    os.close(fd)


def _sent(fd):
    """What sendfile(2) takes from the first page."""
    with tempfile.TemporaryFile() as out:
        os.sendfile(out.fileno(), fd, 0, 4096)
        return os.pread(out.fileno(), 4096, 0)


def what_is_sent_past_the_cache_is_not_old():
    put_home("sent", b"00" * 2048)
    c = client_of("sent")
    fd = os.open(path("sent"), os.O_RDONLY)
    beside = os.open(path("sent"), os.O_RDONLY)
    with mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ) as m:
        for i in range(3):
            assert _sent(fd)[0:2] == m[0:2] == b"%02d" % i, i
            c.ask("put 0 %02d" % (i + 1))
            assert _sent(beside)[0:2] == b"%02d" % (i + 1), i
    os.close(fd)
    c.ask("put 0 xx")
    assert _sent(beside)[0:2] == b"xx"
    c.end()
    os.close(beside)


def what_a_cached_open_leaves_is_not_sent_when_it_is_old():
    cached = _file("left", b"00" * 2048)
    past = os.open(path("left"), os.O_RDONLY | os.O_DIRECT)
    assert os.pread(cached, 4096, 0) == b"00" * 2048
    os.close(cached)
    c = client_of("left")
    c.ask("put 0 new")
    fcntl.fcntl(past, fcntl.F_SETFL, 0)
    assert _sent(past)[0:3] == b"new"
    c.end()
    os.close(past)


def a_put_beside_a_hole_being_punched_stays():
    fd = _file("punched", b"1" * 8192)
    c = client_of("punched")
    for i in range(300):
        os.pread(fd, 4096, 0)
        puncher = threading.Thread(
            target=fallocate, args=(fd, PUNCH_HOLE | KEEP_SIZE, 100, 1000))
        puncher.start()
        c.ask("put 150 %03d" % i)
        os.pread(fd, 1, 0)
        puncher.join()
        assert os.pread(fd, 3, 150).decode() == c.ask("get 150 3"), i
    c.end()
    os.close(fd)


def a_page_that_was_stored_into_wins_over_a_change_in_home():
    fd = _file("wins", b"1" * 8192)
    with mmap.mmap(fd, 8192) as m:
        m[10:11] = b"s"
        with open(home("wins"), "rb+") as f:
            f.write(b"h" * 8192)
        with open(path("wins"), "rb"):
            pass
        until(lambda: "/wins: was changed on disk while the kernel" in _events())
        assert m[10:11] == b"s" and m[3000:3001] == b"1" and m[5000:5001] == b"h"
    os.close(fd)


def _events():
    with open(os.path.join(MNT, "stat", "events")) as f:
        return f.read()


def a_hole_is_seen_only_where_nothing_was_stored():
    fd = _file("holes", b"")
    os.ftruncate(fd, 1 << 20)
    with mmap.mmap(fd, 1 << 20) as m:
        m[500000:500005] = b"hello"
        assert os.lseek(fd, 0, os.SEEK_DATA) <= 500000
    os.close(fd)


def blocks_reserved_ahead_are_given_back_at_the_last_close():
    fd = os.open(path("ahead"), os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(300):
        os.write(fd, b"1" * 10001)
    os.fsync(fd)
    os.close(fd)
    until(lambda: os.stat(home("ahead")).st_blocks * 512 < 300 * 10001 + 65536)


def more_files_than_the_pool_has_rows_stay_right():
    fds = [_file("many%d" % i, b"1" * 4096) for i in range(90)]
    for fd in fds:
        assert os.pread(fd, 1, 0) == b"1"
    c = Client()
    for i in (0, 5, 40, 89):
        c.ask("open", "many%d" % i)
        c.ask("put 0 x")
        assert os.pread(fds[i], 1, 0) == b"x", i
    c.end()
    for fd in fds:
        os.close(fd)


def a_pool_that_was_removed_is_followed_by_one_that_is_told():
    fd = _file("next", b"1" * 4096)
    assert os.pread(fd, 4096, 0) == b"1" * 4096
    for i in range(3):
        os.unlink(os.path.join(MNT, "regions", "mpool"))
        c = client_of("next")
        c.ask("put 0 %d" % i)
        assert os.pread(fd, 1, 0) == b"%d" % i
        c.end()
    os.close(fd)


def _notifier():
    with open("/proc/%d/task/%d/children" % (DAEMON, DAEMON)) as f:
        return [int(p) for p in f.read().split()]


def _is_dead(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0] == "Z"


DAEMON = int(os.getxattr(MNT, "user.poolfs.pid"))


def _put_in_next_pool(c, name):
    """While the daemon cannot see that there is one.  A fork meanwhile would wait for it."""
    os.kill(DAEMON, signal.SIGSTOP)
    try:
        c.tell("begin")
        c.ask("open", name)
        c.ask("put 0 put")
    finally:
        os.kill(DAEMON, signal.SIGCONT)


def a_store_from_a_pool_that_is_gone_does_not_undo_a_put():
    c = Client.after_removal()
    fd = _file("outdated", b"1" * 4096)
    with mmap.mmap(fd, 4096) as m:
        m[10] = ord("m")
        _put_in_next_pool(c, "outdated")
        until(lambda: m[0:3] == b"put")
        c.ask("put 3000 put")
        assert m[3000:3003] == b"put"
    assert c.ask("get 0 3") == "put"
    c.end()
    fails(errno.ESTALE, os.close, fd)


def _close_in_next_pool(name):
    """It has a store from the pool that is removed, and a client has written it in the next one."""
    c = Client.after_removal()
    fd = _file(name, b"1" * 4096)
    with mmap.mmap(fd, 4096) as m:
        m[10] = ord("m")
        _put_in_next_pool(c, name)
    fails(errno.ESTALE, os.close, fd)
    c.end()


def _store(fd, at, text):
    with mmap.mmap(fd, 4096) as m:
        m[at:at + len(text)] = text
        m.flush()


def a_store_into_a_file_that_was_closed_in_the_next_pool_is_kept():
    for i in range(20):
        name = "closed%d" % i
        _close_in_next_pool(name)
        fd = os.open(path(name), os.O_RDWR)
        try:
            _store(fd, 20, b"later")
        except OSError as e:
            assert e.errno == errno.ESTALE  # what was lost before, told once more
        _store(fd, 30, b"later")
        os.fsync(fd)
        os.close(fd)
        with open(home(name), "rb") as f:
            seen = f.read(35)
        assert seen[0:3] == b"put" and seen[30:35] == b"later", (i, seen)


def _write_parts(fd, count, at):
    for i in range(count):
        os.pread(fd, 4096, at)
        os.posix_fadvise(fd, at, 4096, os.POSIX_FADV_DONTNEED)
        os.pwrite(fd, b"w" * 100, at + 10)


def it_goes_on_without_the_notifier():
    fd = _file("alone", b"1" * 40960)
    c = client_of("alone")
    _write_parts(fd, 5, 0)
    for p in _notifier():
        os.kill(p, signal.SIGKILL)
        until(lambda p=p: _is_dead(p))
    os.ftruncate(fd, 40960)
    threads = [threading.Thread(target=_write_parts, args=(fd, 50, 4096 * k)) for k in range(4)]
    for t in threads:
        t.start()
    for i in range(100):
        c.ask("put %d p%02d" % (4096 * (i % 4) + 2000, i))
        assert os.pread(fd, 3, 4096 * (i % 4) + 2000) == b"p%02d" % i
    for t in threads:
        t.join()
    c.end()
    os.close(fd)


def _until_it_fails(act, tell):
    """A process that does it on and on; after some times it says so."""
    pid = os.fork()
    if pid == 0:
        try:
            for _ in range(5):
                act()
            os.write(tell, b"x")
            while True:
                act()
        except OSError:
            os._exit(0)
        except BaseException:
            os._exit(1)
    return pid


def it_ends_while_everything_is_done():
    """The last one: the daemon gets its signal, and must end, and so must all who use it."""
    fd = _file("last", b"1" * 40960)
    m = mmap.mmap(fd, 8192)
    c = client_of("last")

    def read():
        os.pread(fd, 4096, 8192)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def store():
        m[100] = (m[100] + 1) % 256
        m.flush()

    def truncate():
        os.ftruncate(fd, 36864)
        os.ftruncate(fd, 40960)

    hear, tell = os.pipe()
    acts = [lambda at=4096 * k: _write_parts(fd, 1, at) for k in range(4)]
    acts += [read, store, truncate, lambda: os.close(os.open(path("last"), os.O_RDWR))]
    pids = [_until_it_fails(act, tell) for act in acts]
    seen = 0
    while seen < len(acts):
        c.ask("put %d put" % (4096 * seen % 8192))
        seen += len(os.read(hear, 100)) if select.select([hear], [], [], 0)[0] else 0
    watch = os.pidfd_open(DAEMON)
    os.kill(DAEMON, signal.SIGTERM)
    assert select.select([watch], [], [], 60)[0], "it does not end"
    for pid, act in zip(pids, acts):
        status = os.waitpid(pid, 0)[1]
        assert status == 0 or os.WTERMSIG(status) == signal.SIGBUS, (act, status)
    c.ask("put 0 put")
    c.end()
    os.close(watch)


run(globals())
