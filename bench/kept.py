"""What benches measured: one JSON file a bench, in bench/results.

    {"machines": {"AMD EPYC, AVX512, 2 cores": {…}}, "rows": [{"name": …, "machine": "AMD EPYC, AVX512, 2 cores", "date": "2026-11-27", …}]}

A row says on which machine and on which day it was measured; `machines` has what `describe_machine` said of each when it last wrote.
What holds for the whole file, such as the versions of other packages, stands beside them.
"""
import datetime, json
from pathlib import Path

RESULTS = Path(__file__).resolve().parent/'results'

def short(machine):
    "A machine in a few words: its GPU if it has one, its processor with its instructions, and its cores."
    if isinstance(machine, str): return machine
    parts = [machine.get('gpu'), machine['cpu'].replace('(R)', ''), machine.get('simd'), f'{machine["cores"]} cores']
    return ', '.join(p for p in parts if p)

def read(path):
    "The whole file as a dict; without rows where there is no file. Rows that do not name a machine are of the one that the file names."
    path = Path(path)
    found = json.loads(path.read_text()) if path.exists() else {}
    rows = found.get('rows', [])
    machine = found.get('machine')
    if machine: rows = [dict(machine=short(machine)) | row for row in rows]
    return found | dict(rows=[row | dict(machine=short(row['machine'])) if 'machine' in row else row for row in rows])

def keep(path, rows, machine=None, key=('name', 'machine'), order=None, **extra):
    """Put rows into the file of a bench, and return all of its rows. A row replaces the one with the same `key`; all others stay.
    `machine`: as `describe_machine` says it, by default of this process; `order`: names in the order wanted; `extra` is merged into what the file has."""
    if machine is None:
        from landscape_nb.store import describe_machine
        machine = describe_machine()
    path, found, here = Path(path), read(path), short(machine)
    of = lambda row: tuple(row.get(k) for k in key)
    kept = {of(row): row for row in found['rows']}
    for row in rows:
        row = dict(row, machine=here, date=datetime.date.today().isoformat())
        kept[of(row)] = row
    rows = list(kept.values())
    if order:
        place = {name: i for i, name in enumerate(order)}
        rows.sort(key=lambda row: place.get(row['name'], len(place)))
    for name, more in extra.items(): found[name] = found.get(name, {}) | more
    machines = found.get('machines', {})
    if isinstance(machine, dict): machines = machines | {here: machine}
    rest = {name: value for name, value in found.items() if name not in ('machine', 'machines', 'rows')}
    found = dict(machines=machines, **rest, rows=rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_text(text(found))
    part.replace(path)
    return rows

def text(found):
    "JSON with a row a line."
    head = [f'"{name}": {json.dumps(value)}' for name, value in found.items() if name != 'rows']
    rows = ',\n'.join(json.dumps(row, ensure_ascii=False) for row in found['rows'])
    return '{' + ',\n'.join([*head, f'"rows": [\n{rows}\n]']) + '}\n'
