# SPDX-License-Identifier: BSD-3-Clause
"""Compare what a browser shows of a map with what the map must show.

usage: browser.py SCREENSHOT.PNG LETTERS
LETTERS: those of map.txt, of all files one after the other.  A cell of the map is 4 x 4 pixels,
a row has 256; where on the page it begins is found out.  Every cell's middle must have the colour
of its letter.
"""

import struct
import sys
import zlib

COLOURS = {".": (0xe8, 0xe8, 0xe8), "c": (0x5b, 0x9b, 0xd5), "d": (0xe0, 0x7b, 0x39),
           "p": (0xb0, 0x20, 0x40)}
CELL, ROW = 4, 256


def paeth(a, b, c):
    near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))
    return near[2]


def unfilter(kind, line, above, step):
    for i, byte in enumerate(line):
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        guess = (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]
        line[i] = (byte + guess) & 255
    return line


def pixels(path):
    """Rows of the picture, and bytes of a pixel."""
    with open(path, "rb") as f:
        png = f.read()
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at:at + 8])
        body = png[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6) and not interlace
            step = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    raw, rows = zlib.decompress(data), []
    above, stride = bytes(width * step), width * step + 1
    for y in range(height):
        line = bytearray(raw[y * stride + 1:(y + 1) * stride])
        above = unfilter(raw[y * stride], line, above, step)
        rows.append(above)
    return rows, step


def main():
    (rows, step), letters = pixels(sys.argv[1]), sys.argv[2]

    def pixel(x, y):
        inside = 0 <= y < len(rows) and 0 <= x * step < len(rows[y])
        return tuple(rows[y][x * step:x * step + 3]) if inside else None

    def shows(x0, y0, cells):
        return all(pixel(x0 + n % ROW * CELL + CELL // 2, y0 + n // ROW * CELL + CELL // 2) ==
                   COLOURS[letters[n]] for n in cells)

    # Where a pinned page is, which is rare, the others must be around it.
    rare = letters.index("p")
    order = [rare] + list(range(0, len(letters), 37)) + list(range(len(letters)))
    for y in range(len(rows)):
        for x in range(len(rows[y]) // step):
            if pixel(x, y) != COLOURS["p"]:
                continue
            x0, y0 = x - rare % ROW * CELL, y - rare // ROW * CELL
            if shows(x0, y0, order):
                print("%d cells at %d,%d" % (len(letters), x0, y0))
                return
    sys.exit("the map is not there")


main()
