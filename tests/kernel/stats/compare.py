"""Compares answers of `ktape stats` with those of DuckDB on the same events.

usage: compare.py KTAPE CAPTURE

DuckDB gets the events from `ktape replay --format json --fields`. Prints each query that differs, and how many were
compared; exits with 1 if one differs.
"""

import json
import math
import subprocess
import sys

import duckdb

KTAPE, CAPTURE = sys.argv[1:3]

# Fields, and their types in the database.
FIELDS = {
    "evt.rawtime": "HUGEINT",
    "evt.type": "VARCHAR",
    "evt.category": "VARCHAR",
    "evt.cpu": "BIGINT",
    "evt.latency": "HUGEINT",
    "evt.failed": "BOOLEAN",
    "evt.is_io_read": "BOOLEAN",
    "evt.is_io_write": "BOOLEAN",
    "evt.buflen": "HUGEINT",
    "evt.res": "VARCHAR",
    "evt.rawres": "HUGEINT",
    "proc.name": "VARCHAR",
    "proc.pid": "BIGINT",
    "proc.ppid": "BIGINT",
    "proc.cmdline": "VARCHAR",
    "thread.tid": "BIGINT",
    "user.name": "VARCHAR",
    "container.id": "VARCHAR",
    "cgroup.path": "VARCHAR",
    "host.label[zone]": "VARCHAR",
    "fd.num": "BIGINT",
    "fd.name": "VARCHAR",
    "fd.type": "VARCHAR",
    "fd.directory": "VARCHAR",
    "switch.ran": "HUGEINT",
    "switch.state": "VARCHAR",
    "sample.cpu_used": "HUGEINT",
    "evt.rawarg.flags": "HUGEINT",
}

# Relative error that is allowed, by function; everything else must be equal.
QUANTILE_ERROR = 0.0101
DISTINCT_ERROR = 0.05
ROUNDING = 1e-9


def column(name):
    return '"' + name + '"'


def quantile(field, part):
    """The value at rank part * (n - 1), rounded down, as ktape defines it."""
    values = f"list_sort(list({column(field)}) FILTER ({column(field)} IS NOT NULL))"
    return f"{values}[CAST(floor({part} * (count({column(field)}) - 1)) AS BIGINT) + 1]"


def path_prefix(field, count):
    name = column(field)
    return (
        f"CASE WHEN {name} LIKE '/%' THEN '/' || array_to_string(list_slice(string_split({name}, '/'), 2, {count + 1}), '/') "
        f"ELSE {name} END"
    )


def timed(field, order):
    """The value of the first (ASC) or last (DESC) event that has one; of several, the least or greatest."""
    name = column(field)
    return f'first({name} ORDER BY "evt.rawtime" {order}, {name} {order}) FILTER ({name} IS NOT NULL)'


# Keys: as ktape has them, and as SQL.
KEYS = [
    ([], []),
    (["proc.name"], None),
    (["evt.type"], None),
    (["proc.name", "evt.type"], None),
    (["proc.pid", "thread.tid"], None),
    (["evt.cpu"], None),
    (["fd.name"], None),
    (["fd.directory", "proc.name"], None),
    (["fd.directory[2]"], [path_prefix("fd.directory", 2)]),
    (["fd.directory[1]", "evt.res"], [path_prefix("fd.directory", 1), column("evt.res")]),
    (["evt.rawres"], None),
    (["evt.res"], None),
    (["user.name", "container.id", "cgroup.path"], None),
    (["host.label[zone]"], None),
    (["fd.type", "evt.failed"], None),
    (["proc.cmdline"], None),
    (["log2(evt.latency)"], ['CASE WHEN "evt.latency" < 1 THEN 0 ELSE 2 ** floor(log2("evt.latency")) END']),
    (["switch.state"], None),
    (["evt.rawarg.flags"], None),
    (["evt.category", "proc.ppid", "evt.is_io_read"], None),
]

# Columns: as ktape has them, as SQL, and the relative error.
SETS = [
    [
        ("count", "count(*)", 0),
        ("count(evt.latency)", 'count("evt.latency")', 0),
        ("sum(evt.latency)", 'coalesce(sum("evt.latency"), 0)', 0),
        ("avg(evt.latency)", 'avg("evt.latency")', ROUNDING),
        ("min(evt.latency)", 'min("evt.latency")', 0),
        ("max(evt.latency)", 'max("evt.latency")', 0),
        ("stddev(evt.latency)", 'stddev_samp(CAST("evt.latency" AS DOUBLE))', 1e-6),
        ("share", "count(*) / (SELECT count(*) FROM events)", ROUNDING),
    ],
    [
        ("p50(evt.latency)", quantile("evt.latency", 0.5), QUANTILE_ERROR),
        ("p90(evt.latency)", quantile("evt.latency", 0.9), QUANTILE_ERROR),
        ("p99(evt.latency)", quantile("evt.latency", 0.99), QUANTILE_ERROR),
        ("p99.9(evt.buflen)", quantile("evt.buflen", 0.999), QUANTILE_ERROR),
        ("sum(evt.buflen)", 'coalesce(sum("evt.buflen"), 0)', 0),
        ("sum(evt.buflen if evt.is_io_read = true)", 'coalesce(sum("evt.buflen") FILTER ("evt.is_io_read"), 0)', 0),
        ("count(if evt.failed = true)", 'count(*) FILTER ("evt.failed")', 0),
        ("count(evt.failed = true) / count * 100", '100.0 * count(*) FILTER ("evt.failed") / count(*)', ROUNDING),
    ],
    [
        ("distinct(fd.name)", 'count(DISTINCT "fd.name")', DISTINCT_ERROR),
        ("distinct(proc.pid)", 'count(DISTINCT "proc.pid")', 0),
        ("distinct(evt.type)", 'count(DISTINCT "evt.type")', 0),
        ("first(fd.name)", timed("fd.name", "ASC"), 0),
        ("last(evt.rawres)", timed("evt.rawres", "DESC"), 0),
        ("last(proc.name)", timed("proc.name", "DESC"), 0),
        ("sum(switch.ran) / sum(evt.latency)", 'coalesce(sum("switch.ran"), 0) / sum("evt.latency")', ROUNDING),
        ("count(if proc.name = python3 and evt.type in (read, write))",
         """count(*) FILTER ("proc.name" = 'python3' AND "evt.type" IN ('read', 'write'))""", 0),
    ],
]

# Whole commands: arguments of ktape and SQL.
MORE = [
    (["evt.type = read and fd.name startswith /usr", "--by", "proc.name", "-c", "count,sum(evt.buflen)"],
     """SELECT "proc.name", count(*), coalesce(sum("evt.buflen"), 0) FROM events
        WHERE "evt.type" = 'read' AND "fd.name" LIKE '/usr%' GROUP BY 1"""),
    (["--by", "evt.type", "-c", "count", "--having", "count > 100"],
     'SELECT "evt.type", count(*) FROM events GROUP BY 1 HAVING count(*) > 100'),
    (["--by", "evt.type", "-c", "count,max(evt.latency)", "--having", "max(evt.latency) > 1ms and count < 1000 or count = 1"],
     'SELECT "evt.type", count(*), max("evt.latency") FROM events GROUP BY 1 '
     'HAVING max("evt.latency") > 1000000 AND count(*) < 1000 OR count(*) = 1'),
    (["--by", "evt.type", "-c", "count,max(evt.latency)", "--having", "(count = 1 or max(evt.latency) > 1ms) and count < 1000"],
     'SELECT "evt.type", count(*), max("evt.latency") FROM events GROUP BY 1 '
     'HAVING (max("evt.latency") > 1000000 OR count(*) = 1) AND count(*) < 1000'),
    (["--by", "proc.name", "-c", "count", "--having", "count(evt.failed = true) / count > 5 %"],
     'SELECT "proc.name", count(*) FROM events GROUP BY 1 HAVING count(*) FILTER ("evt.failed") / count(*) > 0.05'),
    (["--by", "fd.directory|user.name|evt.type", "-c", "count,sum(evt.latency)"],
     'SELECT coalesce("fd.directory", "user.name", "evt.type"), count(*), coalesce(sum("evt.latency"), 0) '
     'FROM events GROUP BY 1'),
    (["--before", "evt.type = exit and proc.name = cat", "500us", "--by", "evt.type", "-c", "count"],
     """SELECT "evt.type", count(*) FROM events e WHERE EXISTS (
            SELECT 1 FROM events x WHERE x."evt.type" = 'exit' AND x."proc.name" = 'cat'
            AND e."evt.rawtime" + coalesce(e."evt.latency", 0) >= x."evt.rawtime" - 500000
            AND e."evt.rawtime" <= x."evt.rawtime") GROUP BY 1"""),
    (["--by", "proc.name", "-c", "count", "--top", "3"],
     'SELECT "proc.name", count(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3'),
    (["--by", "proc.name", "-c", "count", "--sort", "proc.name:desc", "--top", "4"],
     'SELECT "proc.name", count(*) FROM events GROUP BY 1 ORDER BY 1 DESC NULLS LAST LIMIT 4'),
    (["--per", "100ms", "-c", "count,sum(evt.buflen)"],
     """SELECT CAST("evt.rawtime" // 100000000 * 100000000 AS HUGEINT), count(*), coalesce(sum("evt.buflen"), 0)
        FROM events GROUP BY 1"""),
    (["--per", "250ms", "--by", "proc.name", "-c", "count"],
     """SELECT CAST("evt.rawtime" // 250000000 * 250000000 AS HUGEINT), "proc.name", count(*) FROM events GROUP BY 1, 2"""),
    (["--per", "1s", "--by", "evt.type", "-c", "count", "--top", "2"],
     """SELECT CAST("evt.rawtime" // 1000000000 * 1000000000 AS HUGEINT), "evt.type", count(*) FROM events
        WHERE "evt.type" IN (SELECT "evt.type" FROM events GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 2) GROUP BY 1, 2"""),
]


def run(arguments):
    done = subprocess.run([KTAPE, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


def nanoseconds(text):
    """RFC 3339 in UTC as ns since 1970, exactly."""
    import calendar
    import time

    whole, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(fraction)


def load():
    database = duckdb.connect()
    lines = run(["replay", CAPTURE, "evt.category != loss", "--format", "json", "--fields", ",".join(FIELDS)])
    rows = []
    for line in lines.splitlines():
        event = json.loads(line)
        rows.append(json.dumps({name: plain(event.get(name), kind) for name, kind in FIELDS.items()}))
    path = CAPTURE + ".events.json"
    with open(path, "w") as out:
        out.write("\n".join(rows))
    types = ", ".join(f"'{name}': '{kind}'" for name, kind in FIELDS.items())
    database.execute(
        f"CREATE TABLE events AS SELECT * FROM read_json('{path}', format='newline_delimited', columns={{{types}}})"
    )
    return database


def plain(value, kind):
    if isinstance(value, list):
        value = "|".join(map(str, value))
    if value is not None and kind == "VARCHAR":
        return str(value)
    return value


def ktape(arguments):
    """The rows of an answer, as lists."""
    rows = []
    for line in run(["stats", CAPTURE, *arguments, "--format", "json"]).splitlines():
        values = list(json.loads(line, object_pairs_hook=lambda pairs: [value for _, value in pairs]))
        rows.append([nanoseconds(v) if isinstance(v, str) and v.endswith("Z") and "T" in v else v for v in values])
    return rows


def key(values):
    return tuple("" if value is None else str(number(value)) for value in values)


def number(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return int(value)
    return value


def equal(own, other, error):
    if own is None or other is None:
        # DuckDB divides by zero to infinity or NaN.
        return own is other or (own is None and isinstance(other, float) and not math.isfinite(other))
    if isinstance(other, (int, float)) and not isinstance(other, bool):
        own, other = float(own), float(other)
        return own == other or abs(own - other) <= max(error, 1e-15) * max(abs(own), abs(other))
    return str(own) == str(other)


def compare(name, own, theirs, keys, errors):
    """Compares rows by their first `keys` values; returns how many values were compared, and what differs."""
    own = {key(row[:keys]): row[keys:] for row in own}
    theirs = {key(row[:keys]): row[keys:] for row in theirs}
    wrong = [f"{name}: only in one: {sorted(set(own) ^ set(theirs))[:3]}"] if set(own) != set(theirs) else []
    compared = 0
    for group in set(own) & set(theirs):
        for at, (mine, its) in enumerate(zip(own[group], theirs[group])):
            compared += 1
            if not equal(mine, its, errors[at] if errors else 0):
                wrong.append(f"{name}: group {group}, column {at}: ktape {mine}, DuckDB {its}")
    return compared, wrong


def main():
    database = load()
    queries, values, wrong = 0, 0, []
    for keys, sql in KEYS:
        sql = [column(field) for field in keys] if sql is None else sql
        for columns in SETS:
            arguments = ["-c", ",".join(text for text, _, _ in columns)]
            if keys:
                arguments += ["--by", ",".join(keys)]
            select = ", ".join(sql + [text for _, text, _ in columns])
            group = f" GROUP BY {', '.join(sql)}" if sql else ""
            theirs = database.execute(f"SELECT {select} FROM events{group}").fetchall()
            name = f"by {','.join(keys) or 'nothing'}"
            compared, found = compare(name, ktape(arguments), theirs, len(sql), [error for _, _, error in columns])
            queries, values, wrong = queries + 1, values + compared, wrong + found
    for arguments, sql in MORE:
        theirs = database.execute(sql).fetchall()
        keys = 1 + ("--per" in arguments and "--by" in arguments)
        compared, found = compare(" ".join(arguments), ktape(arguments), theirs, keys, None)
        queries, values, wrong = queries + 1, values + compared, wrong + found
    for text in wrong[:40]:
        print(text)
    events = database.execute("SELECT count(*) FROM events").fetchone()[0]
    print(f"{queries} queries on {events} events, {values} values compared, {len(wrong)} wrong")
    sys.exit(1 if wrong or queries < 60 else 0)


main()
