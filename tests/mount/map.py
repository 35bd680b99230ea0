# SPDX-License-Identifier: BSD-3-Clause
"""Decode the picture in map.svg and say what is where.

usage: map.py MAP.SVG|MAP.HTML FILE
Prints the states of the file's cells as letters of map.txt, from the picture alone: the file's
outline says which cells are its own, the palette what their colours mean.
"""

import base64
import re
import struct
import sys
import xml.etree.ElementTree
import zlib

with open(sys.argv[1], encoding="utf-8") as f:
    source = f.read()
svg = source[source.index("<svg"):source.index("</svg>") + 6]
tree = xml.etree.ElementTree.fromstring(svg)
ns = "{http://www.w3.org/2000/svg}"
href = tree.find(ns + "image").get("href")
assert href.startswith("data:image/png;base64,")
png = base64.b64decode(href.split(",", 1)[1], validate=True)

assert png[:8] == b"\x89PNG\r\n\x1a\n"
chunks = []
at = 8
while at < len(png):
    length, kind = struct.unpack(">I4s", png[at:at + 8])
    data = png[at + 8:at + 8 + length]
    crc, = struct.unpack(">I", png[at + 8 + length:at + 12 + length])
    assert crc == zlib.crc32(kind + data), kind
    chunks.append((kind, data))
    at += 12 + length
assert [k for k, _ in chunks] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
width, height, depth, colour, _, _, _ = struct.unpack(">IIBBBBB", chunks[0][1])
assert (depth, colour) == (2, 3)
assert tree.get("viewBox") == "0 0 %d %d" % (width, height)
rows = zlib.decompress(chunks[2][1])
stride = 1 + (width + 3) // 4
assert len(rows) == stride * height
cells = []
for y in range(height):
    row = rows[y * stride:(y + 1) * stride]
    assert row[0] == 0
    cells += [row[1 + x // 4] >> (6 - x % 4 * 2) & 3 for x in range(width)]

for path in tree.iter(ns + "path"):
    if not path.find(ns + "title").text.startswith(sys.argv[2] + ":"):
        continue
    d = path.get("d")
    x0, y0 = map(int, re.match(r"M(\d+) (\d+)", d).groups())
    if d.count("H") == 2:
        x1, y1 = map(int, re.search(r"H(\d+)V(\d+)", d).groups())
    else:
        y, x1, y1 = map(int, re.search(r"V(\d+)H(\d+)V(\d+)H0", d).groups())
        assert y == y1 - 1
    print("".join(".cdp"[c] for c in cells[y0 * width + x0:(y1 - 1) * width + x1]))
