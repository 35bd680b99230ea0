# SPDX-License-Identifier: BSD-3-Clause
"""odd_lengths.py - the byte length of a file against the page calls, by a model.

Usage: odd_lengths.py MOUNT HOME PAGE_CLIENT PAGE_BYTES SEED OPERATIONS.  Random operations on one
file: by a program on the mount, by a library client with DB_ODDFILESIZE and by one without.  The
model is the string of bytes that the file must hold; every answer is compared with it.
"""
import errno
import os
import random
import subprocess
import sys

MOUNT, HOME, CLIENT = sys.argv[1:4]
PAGE, SEED, OPERATIONS = map(int, sys.argv[4:7])
PAGES = 12
DB_INCOMPLETE = -1
rnd = random.Random(SEED)
model = bytearray()
done = []


class Client:
    def __init__(self, odd):
        self.odd, self.is_open = odd, False
        self.process = subprocess.Popen([CLIENT, HOME, "f%d" % SEED, str(PAGE), "0"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        done.append("client odd=%d %s" % (self.odd, line))
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def open(self):
        if self.is_open:
            expect(self.ask("close"), "ok")
        self.is_open = self.odd or len(model) % PAGE == 0
        expect(self.ask("open %d" % self.odd), "ok" if self.is_open else "error %d" % errno.EINVAL)


def expect(got, want):
    assert got == want, "got %.200s, wanted %.200s" % (got, want)


def set_length(n):
    del model[n:]
    model.extend(bytes(n - len(model)))


def pages():
    return -(-len(model) // PAGE)


def a_length():
    n = rnd.choice((0, 1, PAGE - 1, PAGE, PAGE + 1, rnd.randrange(PAGE * PAGES)))
    return rnd.choice((n, n // PAGE * PAGE, max(0, len(model) - 1), len(model) + 1))


# --- the program on the mount ---------------------------------------------------------------


def mount_write():
    offset = rnd.choice((len(model), a_length()))
    data = rnd.randbytes(rnd.choice((1, PAGE, rnd.randrange(1, 3 * PAGE))))
    done.append("mount write %d at %d" % (len(data), offset))
    expect(os.pwrite(fd, data, offset), len(data))
    if offset > len(model):
        set_length(offset)
    model[offset:offset + len(data)] = data


def mount_truncate():
    n = a_length()
    done.append("mount truncate %d" % n)
    os.ftruncate(fd, n)
    set_length(n)


def mount_read():
    done.append("mount read")
    expect(os.fstat(fd).st_size, len(model))
    assert os.pread(fd, len(model) + 2 * PAGE, 0) == bytes(model), "other bytes are read"


def mount_fsync():
    done.append("mount fsync")
    os.fsync(fd)
    with open(path_in_home, "rb") as f:
        assert f.read() == bytes(model), "HOME has other bytes"


def mount_reopen():
    global fd
    done.append("mount reopen")
    os.close(fd)
    fd = os.open(path, os.O_RDWR)


# --- library clients ------------------------------------------------------------------------


def fill(client, n, char):
    """A page that was put DIRTY: with DB_ODDFILESIZE the length stays."""
    end = (n + 1) * PAGE if not client.odd else min(len(model), (n + 1) * PAGE)
    if end > len(model):
        set_length(end)
    model[n * PAGE:end] = char.encode() * (end - n * PAGE)


def client_page(client):
    n = rnd.randrange(PAGES)
    got = client.ask("page %d" % n)
    if n >= pages():
        expect(got, "error %d" % errno.EINVAL)
    else:
        expect(got, bytes(model[n * PAGE:(n + 1) * PAGE]).ljust(PAGE, b"\0").hex())


def client_fill(client):
    n, char = rnd.choice((rnd.randrange(PAGES), max(0, pages() - 1))), rnd.choice("abcdef")
    got = client.ask("fill %d %s" % (n, char))
    if n >= pages():
        expect(got, "error %d" % errno.EINVAL)
    else:
        expect(got, "ok")
        fill(client, n, char)


def client_create(client):
    n, char = rnd.randrange(PAGES), rnd.choice("ghijk")
    expect(client.ask("create %d %s" % (n, char)), "ok")
    if n >= pages():
        set_length((n + 1) * PAGE)
    fill(client, n, char)


def client_new(client):
    n, char = pages(), rnd.choice("lmnop")
    if n >= 2 * PAGES:
        return
    expect(client.ask("new %s" % char), str(n))
    set_length((n + 1) * PAGE)
    fill(client, n, char)


def client_last(client):
    expect(client.ask("last"), str(pages() - 1) if model else "error %d" % errno.EINVAL)


def client_truncate(client):
    n = a_length()
    may = client.odd or n % PAGE == 0
    expect(client.ask("truncate %d" % n), "ok" if may else "error %d" % errno.EINVAL)
    if may:
        set_length(n)


def client_length(client):
    expect(client.ask("length"), str(len(model)))


def client_fsync(client):
    # the daemon may still have pinned what it has just replied from
    for _ in range(10000):
        got = client.ask("fsync")
        if got != "error %d" % DB_INCOMPLETE:
            break
    expect(got, "ok")


MOUNT_OPS = [mount_write] * 5 + [mount_truncate] * 3 + [mount_read] * 4 + [mount_fsync,
                                                                         mount_reopen]
CLIENT_OPS = [client_page] * 4 + [client_fill] * 5 + [client_create, client_new, client_new,
                                                      client_last, client_last, client_truncate,
                                                      client_length, client_fsync]

path, path_in_home = MOUNT + "/files/f%d" % SEED, HOME + "/f%d" % SEED
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
clients = [Client(1), Client(0)]
try:
    for i in range(OPERATIONS):
        client = rnd.choice(clients)
        if rnd.random() < 0.05 or not client.is_open:
            client.open()
        elif rnd.random() < 0.5:
            rnd.choice(CLIENT_OPS)(client)
        else:
            rnd.choice(MOUNT_OPS)()
    mount_read()
    mount_fsync()
    for client in clients:
        client.process.stdin.close()
        expect(client.process.wait(60), 0)
    os.close(fd)
except AssertionError as e:
    print("# seed %d, operation %d: %s" % (SEED, len(done), e))
    for line in done[-15:]:
        print("#   " + line)
    sys.exit(1)
