#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make poolfs(5) of its template and of stat.def, so that no number lacks its explanation.

usage: poolfs5.py TEMPLATE STAT.DEF OUTPUT
"""

import re
import sys

ENTRY = re.compile(r'^STAT_(\w+)\((\w+), (.*?)((?:"[^"]*"\s*)+)\)$', re.M | re.S)
KIND = re.compile(r'\b(U64|I64|HEX|PERCENT|TEXT),\s+(\w+),\s+(?:"(\w*)",\s+|-?\d+,\s+)?$')


def entries(text):
    """{'POOL': [(key, unit, metric, help), ...], ...}"""
    found = {}
    for name, key, middle, words in ENTRY.findall(text):
        said = "".join(re.findall(r'"([^"]*)"', words))
        kind = KIND.search(middle)
        if kind:
            unit, metric = kind.group(2), kind.group(3) or ""
        else:  # a histogram: number, metric
            unit = "histogram, " + re.search(r"(\w+),\s+\"\w*\",\s+$", middle).group(1)
            metric = re.search(r'"(\w*)",\s+$', middle)
            metric = metric.group(1) if metric else ""
        found.setdefault(name, []).append((key, unit, metric, said))
    return found


def roff(text):
    text = text.replace("\\", "\\e")
    return "\\&" + text if text[:1] in ".'" else text


def items(rows):
    for key, unit, metric, said in rows:
        yield ".It Cm %s Pq %s" % (key, unit)
        yield roff(said[:1].upper() + said[1:]) + "."
        if metric:
            yield ".Pq Ql %s" % metric


def main():
    template, definitions, output = sys.argv[1:]
    with open(definitions, encoding="utf-8") as f:
        found = entries(f.read())
    with open(template, encoding="utf-8") as f:
        lines = f.read().splitlines()
    named = {m.group(1) for m in (re.match(r"@STAT_(\w+)@", line) for line in lines) if m}
    out = []
    for line in lines:
        place = re.match(r"@STAT_(\w+)@", line)
        if place:
            out.extend(items(found[place.group(1)]))
        elif line == "@OTHERS@":
            for name in sorted(set(found) - named):
                out.append(".Sh stat/%s" % name.lower())
                out.append(".Bl -tag -width indent")
                out.extend(items(found[name]))
                out.append(".El")
        else:
            out.append(line)
    with open(output, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


main()
