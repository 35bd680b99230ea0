# SPDX-License-Identifier: BSD-3-Clause
"""Read every form of the status files with somebody else's parsers.

usage: formats.py MOUNTPOINT

Each stat/NAME has the same keys and values as its NAME.json, and what of it is in poolfs.prom has
the same values in base units.  A counter may have moved between two reads: then it must have grown.
"""

import json
import os
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

mnt = sys.argv[1]


def text_keys(name):
    with open(os.path.join(mnt, "stat", name), encoding="utf-8", errors="surrogateescape") as f:
        return {line[:30].rstrip(): line[31:].strip() for line in f}


def table_rows(name):
    with open(os.path.join(mnt, "stat", name), encoding="utf-8", errors="surrogateescape") as f:
        header, *lines = f.read().splitlines()
    assert header.startswith("#"), header
    keys = header[1:].split()
    return keys, [dict(zip(keys, line.split(None, len(keys) - 1))) for line in lines]


def compare(name, key, text, value):
    if value is None:
        assert text == "-", (name, key, text)
    elif isinstance(value, str):
        text = re.sub("[\udc80-\udcff]", "?", text)  # no UTF-8: so in JSON
        assert text == value or text.endswith("..."), (name, key, text, value)
    else:
        assert float(value) >= float(text), (name, key, text, value)


def check_json(name):
    path = os.path.join(mnt, "stat", name + ".json")
    size = os.stat(path).st_size
    with open(path, "rb") as f:
        raw = f.read()
    assert len(raw) == size, (name, len(raw), size)
    return json.loads(raw.decode("utf-8"))


def check_keys(name):
    text = text_keys(name)
    obj = check_json(name)
    assert list(text) == list(obj), (name, set(text) ^ set(obj))
    for key, value in obj.items():
        compare(name, key, text[key], value)


def check_table(name):
    keys, rows = table_rows(name)
    (objs,) = check_json(name).values()
    assert len(objs) >= len(rows), (name, len(objs), len(rows))
    for row, obj in zip(rows, objs):
        assert keys == list(obj), (keys, obj)
        for key, value in obj.items():
            compare(name, key, row[key], value)


def check_prom():
    text = text_keys("pool")
    with open(os.path.join(mnt, "stat", "poolfs.prom"), encoding="utf-8") as f:
        raw = f.read()
    assert raw.endswith("\n")
    families = {f.name: f for f in text_string_to_metric_families(raw)}
    hits = families["poolfs_cache_hits"]
    assert hits.type == "counter", hits.type
    assert hits.documentation == "requested pages found in the cache", hits.documentation
    sample = hits.samples[0]
    assert sample.name == "poolfs_cache_hits_total", sample.name
    assert sample.labels == {"pool": os.environ["HOME_DIR"]}, sample.labels
    assert sample.value >= float(text["cache_hit"]) > 0, (sample.value, text["cache_hit"])
    ratio = families["poolfs_hit_ratio"].samples[0].value
    assert abs(ratio - float(text["hit_percent"]) / 100) < 0.01, ratio
    since = families["poolfs_counters_since_seconds"].samples[0].value
    assert abs(since - float(text["since_usec"]) / 1e6) < 1e-3, since
    for f in families.values():
        assert f.documentation, f.name
        assert f.type in ("counter", "gauge", "histogram"), (f.name, f.type)
        for s in f.samples:
            assert "pool" in s.labels, s


names = {n for n in os.listdir(os.path.join(mnt, "stat")) if n + ".json" in
         os.listdir(os.path.join(mnt, "stat"))}
assert {"pool", "files"} <= names, names
for n in sorted(names):
    with open(os.path.join(mnt, "stat", n), "rb") as first:
        is_table = first.read(1) == b"#"
    (check_table if is_table else check_keys)(n)
check_prom()
