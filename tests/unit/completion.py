# SPDX-License-Identifier: BSD-3-Clause
"""Type into real shells, press the tabulator key, and see what the line has become.

usage: completion.py COMPLETIONS-DIRECTORY POOLSTAT
For each shell and case a TAP line.  bash and zsh run in a terminal; fish says itself what it would
complete.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

SECONDS = 60
SHELLS = ("bash", "zsh", "fish")

# (typed, the last word after the key, without what zsh would take back: a "=" or "/" at its end)
CASES = [
    ("poolfs --dirty", "--dirty-expire"),
    ("poolfs --unm", "--unmount"),
    ("poolfs --policy=ad", "--policy=adaptive"),
    ("poolfs --memory=sy", "--memory=system"),
    ("poolfs --page-size=16", "--page-size=16K"),
    ("poolfs --region-dir=a_dir", "--region-dir=a_directory"),
    ("poolfs -o allow_", "allow_other"),
    ("poolfs -o ro,allow_", "ro,allow_other"),
    ("poolfs -o ro,warm_on", "ro,warm_on_exit"),
    ("poolfs -o ro,cache_m", "ro,cache_max"),
    ("poolfs a_dir", "a_directory"),
    ("poolstat --rep", "--report"),
    ("poolstat -o page_cl", "page_clean"),
    ("poolstat --output=cache_hit,page_tr", "--output=cache_hit,page_trickle"),
    ("poolstat a_fi", "a_file"),
]

STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"],
             "bind 'set enable-bracketed-paste off'; source {dir}/poolfs.bash"),
    "zsh": (["zsh", "-f", "-i"],
            "unsetopt zle_bracketed_paste prompt_cr prompt_sp; unset zle_bracketed_paste; "
            "bindkey -e; fpath=({dir} $fpath); autoload -Uz compinit; compinit -u -D"),
}


class Terminal:
    def __init__(self, argv):
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", PS1="", COLUMNS="500")
            os.execvp(argv[0], argv)

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern):
        """The first match in what the shell has said since the last one."""
        limit = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.seen)):
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            if not poll.poll(max(0, limit - time.monotonic()) * 1000):
                raise TimeoutError("no %s in %r" % (pattern, self.seen))
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[found.end():]
        return found


def ask_terminal(shell, directory):
    """The last word of each case's line; the shell's own printf says what its words are."""
    argv, start = STARTS[shell]
    term = Terminal(argv)
    term.type(start.format(dir=directory) + "; printf 're%s\\n' ady\n")
    term.until("ready")
    for typed, _ in CASES:
        # The key, then the start of the line and the rest of a command that prints it.
        term.type(typed + "\t\x01printf '[%s]' \x05; printf '%s\\n' en''d\n")
        yield re.findall(r"\[([^]%]*)\]", term.until(r"(\[pool[^\n]*)end").group(1))[-1]


def ask_fish(directory):
    for typed, _ in CASES:
        program = typed.split()[0]
        said = subprocess.run(
            ["fish", "--no-config", "-c", "source %s/%s.fish; complete -C %s" %
             (directory, program, "'" + typed + "'")],
            check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS).stdout
        yield said.split("\t")[0].strip()


def try_shell(shell, directory, first):
    """TAP lines from number first on; the number of failures."""
    names = ["%s_completes_%s" % (shell, re.sub(r"\W+", "_", typed)) for typed, _ in CASES]
    if not shutil.which(shell):
        for n, name in enumerate(names, first):
            print("ok %d - %s # SKIP there is no %s" % (n, name, shell))
        return 0
    failures = 0
    got = ask_fish(directory) if shell == "fish" else ask_terminal(shell, directory)
    for n, (name, (typed, wanted), word) in enumerate(zip(names, CASES, got), first):
        word = word.rstrip("=/")
        if word != wanted:
            failures += 1
            print("# %s: wanted %s, got %s" % (typed, wanted, word))
        print("%s %d - %s" % ("ok" if word == wanted else "not ok", n, name))
    return failures


def main():
    directory, poolstat = map(os.path.abspath, sys.argv[1:])
    os.environ["PATH"] = os.path.dirname(poolstat) + ":" + os.environ["PATH"]
    print("1..%d" % (len(SHELLS) * len(CASES)))
    with tempfile.TemporaryDirectory() as work:
        os.environ["HOME"] = os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_DATA_HOME"] = work
        os.chdir(work)
        os.mkdir("a_directory")
        with open("a_file", "w", encoding="utf-8"):
            pass
        sys.exit(sum(try_shell(shell, directory, 1 + i * len(CASES))
                     for i, shell in enumerate(SHELLS)) > 0)


main()
