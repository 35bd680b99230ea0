# SPDX-License-Identifier: BSD-3-Clause
"""Run what README.md tells people to type, and compare what comes out with what it shows.

usage: readme.py README.md session1|session2|commands|program DIRECTORY

A block is what is indented by four columns.  Those with "$ " are sessions: each command is run
by a shell in DIRECTORY, and its output must have the words that are shown; a word with a digit in
it stands for any such word, a line of a map for any such line, and /home/ann for DIRECTORY.
Blocks for a shell (commands) and for the C compiler (program) are printed; what is neither must
look like a tree.
"""

import re
import subprocess
import sys


def blocks(text):
    found, block = [], []
    for line in text.splitlines() + [""]:
        if line.startswith("    ") or (line == "" and block):
            block.append(line[4:])
        elif block:
            found.append("\n".join(block).rstrip() + "\n")
            block = []
    return found + (["\n".join(block).rstrip() + "\n"] if block else [])


def kind(block):
    if block.startswith("$ "):
        return "session"
    if block.startswith("#include"):
        return "program"
    if re.match(r"(MOUNTPOINT|core)/ +", block.replace("\n", " ")):
        return "tree"
    return "commands"


def steps(session):
    """[(command, [word of its output, ...]), ...]"""
    result = []
    for line in session.splitlines():
        if line.startswith("$ "):
            result.append((line[2:], []))
        else:
            result[-1][1].extend(line.split())
    return result


def fits(wanted, got):
    return (wanted == got or (re.search(r"\d", wanted) and re.search(r"\d|^-$", got)) or
            all(re.fullmatch(r"[.cdp]+", word) for word in (wanted, got)))


def run_session(session, directory):
    for command, wanted in steps(session):
        done = subprocess.run(["bash", "-c", command], cwd=directory, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        got = done.stdout.split()
        wanted = [word.replace("/home/ann", directory) for word in wanted]
        if done.returncode != 0 or len(wanted) != len(got) or not all(map(fits, wanted, got)):
            print("$ %s: status %d" % (command, done.returncode))
            print("shown:  ", " ".join(wanted))
            print("printed:", " ".join(got))
            return 1
    return 0


def main():
    readme, what, directory = sys.argv[1:]
    with open(readme, encoding="utf-8") as f:
        found = blocks(f.read())
    if what.startswith("session"):
        sessions = [b for b in found if kind(b) == "session"]
        sys.exit(run_session(sessions[int(what[7:]) - 1], directory))
    print("".join(b for b in found if kind(b) == what), end="")


main()
