# SPDX-License-Identifier: BSD-3-Clause
#
# holes.py FILES HOME PAGE_CLIENT - on a disk that is full a write into a hole is refused, and one
# into what has blocks is not, through a descriptor that has been written through before: also after
# another process has cut the file and made it longer again.

import errno
import os
import subprocess
import sys

files, home, page_client = sys.argv[1:]
KIB = 1024


def fill_disk(name):
    fd = os.open(os.path.join(files, name), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        for piece in (1024 * KIB, 64 * KIB, 4 * KIB):
            try:
                while os.write(fd, os.urandom(piece)) == piece:
                    pass
            except OSError as e:
                assert e.errno == errno.ENOSPC, e
        os.fsync(fd)
    finally:
        os.close(fd)


def write_error(fd, offset):
    try:
        done = os.pwrite(fd, b"w" * 4096, offset)
    except OSError as e:
        return errno.errorcode[e.errno]
    return done


def client(*commands):
    lines = "".join(c + "\n" for c in commands)
    said = subprocess.run(
        [page_client, home, "holes", "4096", "0"],
        input=lines, stdout=subprocess.PIPE, text=True, check=True, timeout=120,
    ).stdout.split("\n")
    assert not [line for line in said if line.startswith("error")], said


path = os.path.join(files, "holes")
with open(path, "wb") as f:
    f.write(b"d" * 64 * KIB)
    f.truncate(1024 * KIB)
    os.fsync(f.fileno())
fd = os.open(path, os.O_WRONLY)
assert write_error(fd, 4096) == 4096
fill_disk("filler")
assert write_error(fd, 8192) == 4096
assert write_error(fd, 60 * KIB) == 4096
assert write_error(fd, 512 * KIB) == "ENOSPC"
assert write_error(fd, 64 * KIB) == "ENOSPC"
os.fsync(fd)

client("open 1", "truncate 0", "fsync", "truncate 65536", "fsync", "close")
fill_disk("another")
assert write_error(fd, 8192) == "ENOSPC"
os.fsync(fd)
os.close(fd)
for name in ("holes", "filler", "another"):
    os.unlink(os.path.join(files, name))
