# SPDX-License-Identifier: BSD-3-Clause
"""daemon_storm.py - the daemon is stopped and killed while programs and a client work, over again.

Usage: daemon_storm.py HOME MOUNTPOINT ROUNDS SEED.  In each round the pool is mounted, over what a
killed daemon has left; programs write and fsync files, make and rename others, and a library client
puts pages.  After some hundred writes the daemon is killed, in some rounds having been stopped for
a moment.  What an fsync has promised must be in HOME then, whoever serves; what was written or put
must be there when the next daemon has come, and in HOME after the last one went in good order.

Prints TAP.  Nothing here waits by the clock: a round goes on until so much is acknowledged.
"""
import os
import random
import select
import signal
import subprocess
import sys
import threading

home, mnt, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
WRITERS, LENGTH, PATIENCE = 3, 120000, 120
dice = random.Random(seed)
tried = {"writes": 0, "fsyncs": 0, "puts": 0, "kills": 0, "stops": 0, "puts while stopped": 0}
tap = []


def ok(name, fault):
    tap.append(fault is None)
    if fault is not None:
        print("# " + fault)
    print("%s %d - %s" % ("ok" if fault is None else "not ok", len(tap), name), flush=True)


class Contents:
    """What a file must hold, as far as that is known."""

    def __init__(self):
        self.data, self.known = bytearray(LENGTH), bytearray(b"\1" * LENGTH)
        self.on_disk, self.surely = bytes(LENGTH), bytearray(LENGTH)

    def in_doubt(self, off, size):
        self.known[off:off + size] = self.surely[off:off + size] = bytes(size)

    def acknowledged(self, off, data):
        self.data[off:off + len(data)] = data
        self.known[off:off + len(data)] = b"\1" * len(data)

    def synced(self):
        self.on_disk, self.surely = bytes(self.data), bytearray(self.known)

    def adopt(self, got):
        self.data, self.known = bytearray(got), bytearray(b"\1" * LENGTH)


def differs(got, want, known):
    """A sentence, or None."""
    if len(got) < LENGTH and any(known[len(got):]):
        return "%d bytes instead of %d" % (len(got), LENGTH)
    bad = [i for i in range(LENGTH) if known[i] and got[i] != want[i]] if got != want else []
    return "%d bytes, the first at %d" % (len(bad), bad[0]) if bad else None


class Progress:
    def __init__(self):
        self.changed, self.done, self.over = threading.Condition(), 0, False

    def one_more(self, what):
        with self.changed:
            tried[what] += 1
            self.done += 1
            self.changed.notify()

    def await_more(self, n, patience=PATIENCE):
        with self.changed:
            upto = self.done + n
            return self.changed.wait_for(lambda: self.done >= upto, patience)


class Writer(threading.Thread):
    """Writes to a file of its own, until the daemon dies."""

    def __init__(self, n, contents, progress, number):
        super().__init__()
        self.path, self.c, self.progress = "%s/files/w%d" % (mnt, n), contents, progress
        self.dice = random.Random(number)

    def step(self, fd):
        size = self.dice.choice((1, 100, 4096, 10000))
        off = self.dice.randrange(LENGTH - size)
        data = self.dice.randbytes(size)
        self.c.in_doubt(off, size)
        done = os.pwrite(fd, data, off)
        self.c.acknowledged(off, data[:done])
        self.progress.one_more("writes")
        if self.dice.randrange(6) == 0:
            os.fsync(fd)
            self.c.synced()
            self.progress.one_more("fsyncs")

    def run(self):
        try:
            fd = os.open(self.path, os.O_RDWR)
            while not self.progress.over:
                self.step(fd)
        except OSError:
            pass  # the daemon is gone


class Namer(threading.Thread):
    """Makes, renames and removes files, and reads what the others write."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def run(self):
        at = mnt + "/files/"
        try:
            while not self.progress.over:
                with open(at + "new", "w") as f:
                    f.write("x" * 5000)
                os.rename(at + "new", at + "newer")
                with open(at + "w0", "rb") as f:
                    f.read(20000)
                os.listdir(at)
                os.unlink(at + "newer")
        except OSError:
            pass


class Client(threading.Thread):
    """A library client, that lives through all rounds."""

    def __init__(self, contents):
        super().__init__(daemon=True)
        self.c, self.progress, self.fault = contents, Progress(), None
        self.dice = random.Random(seed + 77)
        self.tool = subprocess.Popen([os.environ["TEST_BIN"] + "/pool_client", home],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, line):
        self.tool.stdin.write(line + "\n")
        self.tool.stdin.flush()
        answer = self.tool.stdout.readline().rstrip("\n")
        if not answer.startswith("ok"):
            raise RuntimeError("%s: %s" % (line, answer))

    def run(self):
        try:
            self.say("open client")
            while not self.progress.over:
                text = "".join(self.dice.choice("abcdefgh") for _ in range(24))
                off = self.dice.randrange(LENGTH - 24)
                self.c.in_doubt(off, 24)
                self.say("put %d %s" % (off, text))
                self.c.acknowledged(off, text.encode())
                self.progress.one_more("puts")
        except (RuntimeError, OSError) as e:
            self.fault = str(e)


def mount():
    subprocess.run([os.environ["POOLFS"], "--cache-size=512K", home, mnt], check=True, timeout=120)
    return int(os.getxattr(mnt, "user.poolfs.pid"))


def kill(daemon):
    pidfd = os.pidfd_open(daemon)
    os.kill(daemon, signal.SIGKILL)
    tried["kills"] += 1
    assert select.select([pidfd], [], [], PATIENCE)[0], "the daemon does not end"
    os.close(pidfd)


def stop_for_a_while(daemon, client):
    before = tried["puts"]
    os.kill(daemon, signal.SIGSTOP)
    tried["stops"] += 1
    # it may have been stopped with something that the client has to wait for: no matter
    client.progress.await_more(20, 0.5)
    tried["puts while stopped"] += tried["puts"] - before
    os.kill(daemon, signal.SIGCONT)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def play(number, contents, client):
    daemon, progress = mount(), Progress()
    for n, c in enumerate(contents[:WRITERS]):
        got = read("%s/files/w%d" % (mnt, n))
        ok("what_was_written_is_there_%d_w%d" % (number, n), differs(got, c.data, c.known))
        c.adopt(got)
    threads = [Writer(n, c, progress, seed * 1000 + number * 10 + n)
               for n, c in enumerate(contents[:WRITERS])] + [Namer(progress)]
    for t in threads:
        t.start()
    enough = progress.await_more(dice.randrange(20, 400))
    if enough and dice.randrange(3) == 0:
        stop_for_a_while(daemon, client)
        enough = progress.await_more(20)
    progress.over = not enough
    kill(daemon)
    for t in threads:
        t.join()
    ok("the_mount_serves_%d" % number, None if enough else "so few writes in so long a time")
    for n, c in enumerate(contents[:WRITERS]):
        ok("what_fsync_promised_is_in_home_%d_w%d" % (number, n),
           differs(read("%s/w%d" % (home, n)), c.on_disk, c.surely))
    subprocess.run(["umount", "-l", mnt], check=True)


def main():
    contents = [Contents() for _ in range(WRITERS + 1)]
    for name in ["w%d" % n for n in range(WRITERS)] + ["client"]:
        with open("%s/%s" % (home, name), "wb") as f:
            f.write(bytes(LENGTH))
    mount()
    client = Client(contents[WRITERS])
    client.start()
    client.progress.await_more(1)
    subprocess.run([os.environ["POOLFS"], "-u", mnt], check=True, timeout=120)
    for number in range(rounds):
        play(number, contents, client)
    mount()
    client.progress.over = True
    client.join(PATIENCE)
    c = contents[WRITERS]
    ok("the_client_is_served_all_the_time", client.fault)
    ok("what_the_client_put_is_in_the_mount", differs(read(mnt + "/files/client"), c.data, c.known))
    client.tool.stdin.close()
    client.tool.wait(PATIENCE)
    subprocess.run([os.environ["POOLFS"], "-u", mnt], check=True, timeout=120)
    for name, c in zip(["w%d" % n for n in range(WRITERS)] + ["client"], contents):
        ok("in_the_end_it_is_in_home_" + name, differs(read(home + "/" + name), c.data, c.known))
    print("# " + ", ".join("%d %s" % (n, what) for what, n in tried.items()))
    sys.exit(not all(tap))


main()
