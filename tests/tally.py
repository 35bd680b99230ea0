#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Count the tests of meson's logs: tally.py RESULT ...

A RESULT is LABEL=testlog.json, or pass:NAME, fail:NAME, skip:NAME for what ran without meson.  Each
executable's TAP lines count one by one; an executable without any counts as one, by its exit
status.  One that fails, is killed or times out although none of its lines says so adds one failure,
and so does one that printed fewer results than it had planned.
Failed and skipped tests are named with the reason that was printed; the last line is the count.
Exit status 1 if anything failed or nothing ran.
"""

import json
import re
import sys

LINE = re.compile(r'^(not )?ok\b\s*\d*\s*-?\s*([^#]*?)\s*(?:#\s*(SKIP)\b\s*(.*))?$', re.I)
PLAN = re.compile(r'^1\.\.(\d+)')
REASON = re.compile(r'^# skipped: (.*?): (.*)$')


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def executable(self, label, run):
        where = f"{label}/{run['name'].split(' / ')[-1].split(':')[-1]}"
        text = run.get('stdout') or ''
        reasons = dict(m.groups() for m in map(REASON.match, text.splitlines()) if m)
        before = len(self.failed)
        lines = [m for m in map(LINE.match, text.splitlines()) if m]
        for m in lines:
            self.line(where, m, reasons)
        self.status(where, run, lines, text, before)

    def line(self, where, m, reasons):
        bad, name, directive, rest = m.groups()
        if directive:
            name = name or rest  # cmocka puts the name where others put the reason
            why = reasons.get(name) or (rest if rest != name else '') or 'no reason given'
            self.skipped.append(f'{where}: {name}: {why}')
        elif bad:
            self.failed.append(f'{where}: {name}')
        else:
            self.passed += 1

    def status(self, where, run, lines, text, before):
        result = run['result']
        planned = sum(int(m.group(1)) for m in map(PLAN.match, text.splitlines()) if m)
        if planned > len(lines):
            self.failed.append(f'{where}: {planned} planned, {len(lines)} reported ({result})')
        elif result in ('OK', 'EXPECTEDFAIL'):
            self.passed += not lines
        elif result == 'SKIP':
            if not lines:
                said = [s for s in text.strip().splitlines() if s.strip()]
                self.skipped.append(f"{where}: {said[-1] if said else 'no reason given'}")
        elif len(self.failed) == before:
            self.failed.append(f"{where}: {result.lower()} (exit status {run['returncode']})")


def main(args):
    tally = Tally()
    for arg in args:
        kind, _, name = arg.partition(':')
        if kind == 'pass':
            tally.passed += 1
            continue
        if kind in ('fail', 'skip'):
            (tally.failed if kind == 'fail' else tally.skipped).append(name)
            continue
        label, path = arg.split('=', 1)
        with open(path, encoding='utf-8', errors='replace') as log:
            for line in log:
                tally.executable(label, json.loads(line))
    for name in tally.skipped:
        print('skipped:', name)
    for name in tally.failed:
        print('FAILED: ', name)
    count = f'{tally.passed} passed, {len(tally.failed)} failed'
    if tally.skipped:
        count += f', {len(tally.skipped)} skipped'
    print(count)
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
