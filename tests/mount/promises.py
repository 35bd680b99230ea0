# SPDX-License-Identifier: BSD-3-Clause
"""promises.py - what the mount promises beyond what each call does.

On a mount that writes nothing for being old, so that what is dirty stays so until it is asked for.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import struct
import time

from checks import (AT_FDCWD, D, Handle, KEEP_SIZE, KERNEL_CACHES, client_of, fails, fallocate,
                    get, home, libc, path, pattern, put, put_home, run, until)

MIB = 1 << 20
EVENTS = os.path.join(os.path.dirname(os.path.dirname(D)), "stat/events")


def _child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return pid


def one_request_is_atomic():
    """1 MiB at a time: no reader ever sees parts of two writes."""
    if KERNEL_CACHES:
        return  # the kernel changes its own pages one by one, as on any disk
    fd = os.open(path("atomic"), os.O_RDWR | os.O_CREAT, 0o644)
    buf = mmap.mmap(-1, MIB)
    os.writev(fd, [buf])

    def writes(byte):
        with mmap.mmap(-1, MIB) as mine:
            mine.write(byte * MIB)
            while True:
                os.pwritev(fd, [mine], 0)
    writers = [_child(lambda c=c: writes(c)) for c in (b"a", b"b")]
    torn = 0
    try:
        for _ in range(400):
            torn += os.preadv(fd, [buf], 0) != MIB or buf[:] != buf[:1] * MIB
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    os.close(fd)
    assert not torn, "%d of 400" % torn


def _both(writes):
    """Two processes, writes(b"a") and writes(b"b"), to their ends."""
    for pid in [_child(lambda c=c: writes(c)) for c in (b"a", b"b")]:
        assert os.waitpid(pid, 0)[1] == 0


def a_write_of_several_requests_is_not_mixed_with_another():
    fd = os.open(path("mixed"), os.O_RDWR | os.O_CREAT, 0o644)
    for _ in range(8):
        _both(lambda c: os.pwrite(fd, c * (2 * MIB + 4097), 1000))
        got = os.pread(fd, 3 * MIB, 1000)
        assert got == got[:1] * (2 * MIB + 4097)
    os.close(fd)


def an_append_of_several_requests_stays_together():
    n = MIB + 300001

    def appends(byte):
        fd = os.open(path("appended"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for _ in range(8):
            assert os.write(fd, byte * n) == n
    _both(appends)
    got = get("appended")
    pieces = sorted(got[i:i + n] for i in range(0, len(got), n))
    assert pieces == [b"a" * n] * 8 + [b"b" * n] * 8


def rwf_append_appends():
    RWF_APPEND = 0x10
    fds = [os.open(path("rwf"), os.O_WRONLY | os.O_CREAT, 0o644) for _ in range(2)]
    for i in range(10):
        os.pwritev(fds[i % 2], [b"%d." % i], 0, RWF_APPEND)
    assert get("rwf") == b"".join(b"%d." % i for i in range(10))
    for fd in fds:
        os.close(fd)


def rwf_noappend_is_not_seen():
    """A write request says how the file is open, and nothing of the flags of one call."""
    RWF_NOAPPEND = 0x20
    for where, wanted in ((home, b"ab..."), (path, b".....ab")):
        fd = os.open(where("noappend"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.write(fd, b".....")
        try:
            os.pwritev(fd, [b"ab"], 0, RWF_NOAPPEND)
        except OSError as e:
            assert e.errno == errno.EOPNOTSUPP
            return "this kernel has no RWF_NOAPPEND"
        os.close(fd)
        with open(where("noappend"), "rb") as f:
            assert f.read() == wanted


def dirty_pages_win_over_a_change_in_home_and_it_is_said():
    put("both", b"a" * 8192)
    fd = os.open(path("both"), os.O_RDWR)
    os.fsync(fd)
    os.pwrite(fd, b"by the mount", 4096)
    with open(home("both"), "r+b") as f:
        f.write(b"behind its back")
        f.seek(4096)
        f.write(b"also behind its back")
    assert get("both")[4096:4108] == b"by the mount"
    with open(EVENTS) as f:
        assert "/both" in f.read()
    os.fsync(fd)
    with open(home("both"), "rb") as f:
        assert f.read()[4096:4108] == b"by the mount"
    os.close(fd)


def a_change_in_home_that_puts_size_and_time_back_is_noticed():
    put("ctime", b"older" * 1000)
    st = os.stat(path("ctime"))
    fd = os.open(path("ctime"), os.O_RDONLY)
    os.fsync(fd)
    with open(home("ctime"), "r+b") as f:
        f.write(b"newer")
        f.flush()
        os.utime(f.fileno(), ns=(st.st_atime_ns, st.st_mtime_ns))
    assert get("ctime") == b"newer" + b"older" * 999
    os.close(fd)


def a_file_that_takes_the_name_of_another_in_home_is_another():
    put("name", b"first" * 1000)
    fd = os.open(path("name"), os.O_RDWR)
    put_home("name.new", b"second")
    os.rename(home("name.new"), home("name"))
    assert get("name") == b"second"
    os.pwrite(fd, b"FIRST", 0)
    assert os.pread(fd, 10, 0) == b"FIRSTfirst"
    assert get("name") == b"second", "what is written to the first does not get there"
    os.fsync(fd)
    os.close(fd)
    with open(home("name"), "rb") as f:
        assert f.read() == b"second"


def a_directory_is_itself_whatever_takes_its_name():
    os.mkdir(path("dir"))
    put("dir/f", b"inside")
    os.mkdir(home("other"))
    put_home("other/f", b"other")
    fd = os.open(path("dir"), os.O_RDONLY)
    os.rename(home("dir"), home("dir.old"))
    os.symlink("other", home("dir"))
    assert os.stat("f", dir_fd=fd).st_ino == os.stat(home("dir.old/f")).st_ino
    made = os.open("made", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    os.close(made)
    assert os.listdir(home("other")) == ["f"]
    assert sorted(os.listdir(home("dir.old"))) == ["f", "made"]
    assert stat.S_ISLNK(os.lstat(path("dir")).st_mode)
    assert get("dir/f") == b"other"
    os.close(fd)


def what_is_dirty_is_no_hole():
    fd = os.open(path("sparse"), os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, MIB)
    client = client_of("sparse")
    client.ask("put", text="262144 put by a client")
    os.pwrite(fd, b"written", 131072)
    found = []
    at = 0
    if KERNEL_CACHES:
        os.close(fd)
        fd = os.open(path("sparse"), os.O_RDONLY)
    while True:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            assert e.errno == errno.ENXIO
            break
        found.append(at)
        at = os.lseek(fd, at, os.SEEK_HOLE)
    assert found == [131072, 262144], found
    client.end()
    os.close(fd)


def sendfile_and_mappings_are_fresh_at_each_open():
    """The kernel keeps a copy for them, as long as nobody opens, maps or writes the file."""
    put("fresh", b"A" * 8192)
    client = client_of("fresh")
    r, w = os.pipe()
    fd = os.open(path("fresh"), os.O_RDWR)
    for text in (b"first", b"second", b"third"):
        client.ask("put", text="0 " + text.decode())
        assert os.pread(fd, len(text), 0) == text, "read(2) without more ado"
        other = os.open(path("fresh"), os.O_RDONLY)
        assert os.sendfile(w, other, 0, len(text)) == len(text)
        assert os.read(r, 100) == text
        client.ask("put", text="4096 " + text.decode())
        with mmap.mmap(fd, 8192, mmap.MAP_PRIVATE, mmap.PROT_READ) as m:
            assert m[4096:4096 + len(text)] == text
        os.close(other)
    client.end()
    for f in (fd, r, w):
        os.close(f)


def the_time_of_a_write_stays_whoever_writes_it_back():
    fd = os.open(path("others"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"by the mount")
    shown = os.fstat(fd).st_mtime_ns
    client = client_of("others")
    time.sleep(0.02)  # beyond what clocks of files tell apart
    client.ask("sync")
    with open(home("others"), "rb") as f:
        assert f.read() == b"by the mount"
    assert os.fstat(fd).st_mtime_ns == shown
    assert os.stat(home("others")).st_mtime_ns == shown
    client.end()
    os.close(fd)


def blocks_reserved_ahead_are_given_back():
    """Though the end of the file may be in the pool alone when it is closed."""
    for name, synced in (("ahead", True), ("ahead.dirty", False)):
        fd = os.open(path(name), os.O_RDWR | os.O_CREAT, 0o644)
        for i in range(300):
            os.write(fd, pattern(10001, i))
        if synced:
            os.fsync(fd)
        assert os.fstat(fd).st_size == 300 * 10001
        os.close(fd)
        until(lambda: os.stat(home(name)).st_blocks * 512 < 300 * 10001 + 65536)
        assert os.stat(home(name)).st_size == 300 * 10001


def _until_the_next_is_closed(name):
    """One with blocks ahead: they have gone, and with them what else the mount would have taken."""
    with open(path(name), "wb", buffering=0) as f:
        for i in range(40):
            f.write(pattern(10001, i))
    until(lambda: os.stat(home(name)).st_blocks * 512 < 40 * 10001 + 65536)


def _has_mib(name, least, most):
    return least * MIB <= os.stat(home(name)).st_blocks * 512 < most * MIB


def blocks_that_a_program_reserved_stay():
    """Though the mount had some of its own behind the end, which it gives back."""
    fd = os.open(path("kept"), os.O_RDWR | os.O_CREAT, 0o644)
    for i in range(40):
        os.write(fd, pattern(10001, i))
    fallocate(fd, KEEP_SIZE, 300000, 4 * MIB)
    for i in range(10):
        os.write(fd, pattern(10001, i))
    assert _has_mib("kept", 4, 5)
    os.close(fd)
    with open(path("kept"), "ab", buffering=0) as f:
        f.write(pattern(10001))
    _until_the_next_is_closed("kept.control")
    assert os.stat(home("kept")).st_size == 51 * 10001
    assert _has_mib("kept", 4, 5)
    os.truncate(path("kept"), 51 * 10001)  # which cuts what is behind the end
    assert _has_mib("kept", 0, 1)
    os.unlink(path("kept"))


def what_is_cut_before_it_is_written_takes_no_room():
    """On disk it is shorter still, most probably, and becomes longer by that."""
    fd = os.open(path("cut"), os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, bytes(MIB), 4 * MIB)
    os.ftruncate(fd, 2 * MIB)
    assert _has_mib("cut", 0, 1) and os.stat(home("cut")).st_size == 2 * MIB
    os.close(fd)


def _says_where_blocks_are(name):
    """FS_IOC_FIEMAP, of all of the file; tmpfs does not."""
    with open(home(name), "rb") as f:
        try:
            fcntl.ioctl(f, 0xc020660b, struct.pack("QQIIII", 0, 2**64 - 1, 0, 0, 0, 0))
        except OSError as e:
            assert e.errno == errno.EOPNOTSUPP
            return False
    return True


def _append(name):
    with open(path(name), "ab", buffering=0) as f:
        for i in range(20):
            f.write(pattern(10001, i))
    _until_the_next_is_closed("kept.control")


def blocks_that_were_reserved_in_home_stay():
    with open(home("kept.home"), "wb", buffering=0) as f:
        f.write(pattern(10001))
        fallocate(f.fileno(), KEEP_SIZE, 0, 4 * MIB)
    if not _says_where_blocks_are("kept.home"):
        return "HOME's filesystem does not say where a file has blocks"
    _append("kept.home")
    assert _has_mib("kept.home", 4, 5)
    return None


def blocks_that_are_reserved_in_home_later_stay():
    """Of a file that the mount knows already."""
    _append("kept.later")
    until(lambda: _has_mib("kept.later", 0, 1))
    if not _says_where_blocks_are("kept.later"):
        return "HOME's filesystem does not say where a file has blocks"
    with open(home("kept.later"), "r+b", buffering=0) as f:
        fallocate(f.fileno(), KEEP_SIZE, 0, 4 * MIB)
    _append("kept.later")
    assert _has_mib("kept.later", 4, 5)
    return None


def fsync_of_one_of_its_names_is_fsync_of_the_file():
    fd = os.open(path("one"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"by one name")
    os.link(path("one"), path("two"))
    other = os.open(path("two"), os.O_RDONLY)
    os.fdatasync(other)
    with open(home("one"), "rb") as f:
        assert f.read() == b"by one name"
    os.close(other)
    os.close(fd)


def o_dsync_writes_are_in_home_at_once():
    fd = os.open(path("dsync"), os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o644)
    os.write(fd, pattern(10000))
    with open(home("dsync"), "rb") as f:
        assert f.read() == pattern(10000)
    os.close(fd)
    fd = os.open(path("dsync"), os.O_WRONLY)
    os.pwritev(fd, [b"for this one alone"], 0, os.RWF_DSYNC)
    with open(home("dsync"), "rb") as f:
        assert f.read(18) == b"for this one alone"
    os.close(fd)


def an_fsync_of_the_directory_makes_its_names_durable():
    os.mkdir(path("synced"))
    put("synced/f", b"x")
    fd = os.open(path("synced"), os.O_RDONLY)
    os.fsync(fd)
    os.rename(path("synced/f"), path("synced/g"))
    os.fdatasync(fd)
    os.close(fd)
    assert os.listdir(home("synced")) == ["g"]


def record_locks_follow_the_file():
    """fcntl(2)'s, which the kernel keeps for the mount: by inode, whatever it is called."""
    import fcntl
    put("locked", b"0123456789")
    fd = os.open(path("locked"), os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 3, 2)
    os.rename(path("locked"), path("still"))
    pid = os.fork()
    if pid == 0:
        try:
            other = os.open(path("still"), os.O_RDWR)
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 0)
            fails(errno.EAGAIN, fcntl.lockf, other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 4)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(fd)


def _handle_of(name):
    handle, mount = Handle(n=128), ctypes.c_int()
    assert libc.name_to_handle_at(AT_FDCWD, path(name).encode(), ctypes.byref(handle),
                                  ctypes.byref(mount), 0) == 0
    return handle


def _read_by_handle(handle):
    """None: it leads to nothing any more."""
    where = os.open(D, os.O_RDONLY)
    fd = libc.open_by_handle_at(where, ctypes.byref(handle), os.O_RDONLY)
    os.close(where)
    if fd == -1:
        assert ctypes.get_errno() == errno.ESTALE, errno.errorcode[ctypes.get_errno()]
        return None
    with open(fd, "rb") as f:
        return f.read()


def a_file_handle_leads_to_its_file_or_to_none():
    """Nobody keeps what the kernel has forgotten, and memory and inodes are used again."""
    names = ["handle%d" % i for i in range(50)]
    handles = []
    for name in names:
        put(name, name.encode())
        handles.append(_handle_of(name))
    fd = os.open(path(names[0]), os.O_RDONLY)
    os.rename(path(names[0]), path("moved"))
    assert _read_by_handle(handles[0]) == names[0].encode()
    os.close(fd)
    os.rename(path("moved"), path(names[0]))
    for name in names:
        os.unlink(path(name))
    for name in names:
        put(name, b"another")

    def are_stale():
        found = [_read_by_handle(h) for h in handles]
        assert all(f in (None, n.encode()) for f, n in zip(found, names)), found
        return not any(found)
    until(are_stale)
    for name in names:
        os.unlink(path(name))


run(globals())
