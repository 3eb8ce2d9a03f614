"""What the benches found, as Markdown: a table for each kind of result in bench/results.

    python bench/tables.py [networks solvers speeds studies] [--results bench/results]

Each bench leaves one JSON file with its rows, machine and versions. A table whose files are missing has no rows, or is empty.
"""
import argparse, json, math
from collections.abc import Iterable
from pathlib import Path
from landscape_nb.report import markdown_table

RESULTS = Path(__file__).resolve().parent/'results'

def rows_of(folder:Path, name:str)->list[dict]:
    "The rows of one bench; none without its file."
    path = Path(folder)/f'{name}.json'
    return json.loads(path.read_text())['rows'] if path.exists() else []

def different(values:Iterable)->list:
    "Each value once, in the order of its first place."
    return list(dict.fromkeys(values))

# -- symmetries

LISTS = {'symmetries-torchvision': 'torchvision, every classifier', 'symmetries-timm': 'timm, 30 assorted'}

def _found(where, tool, rows):
    "How often a tool was right about the networks of a list, and how much of them it covered."
    def count(*beginnings):
        return sum(r['verdict'].startswith(beginnings) for r in rows)
    right = [r for r in rows if r['verdict'].startswith(('verified', 'right'))]
    refused = count('refused')
    wrong = count('WRONG', 'wrong')
    covered = sum(r.get('coverage') or 0. for r in right)/len(rows)
    rest = len(rows) - len(right) - refused - wrong
    return where, tool, len(rows), len(right), refused, wrong, rest, f'{covered:.1%}'

def networks_markdown(folder:Path=RESULTS)->str: # with the files of bench/symmetries.py and bench/peers.py
    "What `find_symmetries` and other tools find in lists of networks; lists without a file are left out."
    lines = []
    for name, where in LISTS.items():
        rows = rows_of(folder, name)
        if rows:
            lines.append(_found(where, '`find_symmetries`', rows))
    peers = rows_of(folder, 'peers')
    for tool in different(r['name'].rpartition('/')[2] for r in peers):
        own = [r for r in peers if r['name'].endswith(f'/{tool}')]
        name = '`find_symmetries`' if tool == 'ours' else f'`{tool}`'
        lines.append(_found('16 of torchvision and the small nets of the tests', name, own))
    head = ['list', 'tool', 'networks', 'right', 'refused', 'wrong', 'crash or none', 'covered, of all']
    return markdown_table(head, lines)

# -- alignment

def _solved(row):
    "Objective and seconds of one solver on one pair, or what went wrong."
    if row is None:
        return ''
    took = f', {row["seconds"]:.2g} s' if 'seconds' in row else ''
    if row['verdict'] != 'right':
        return row['verdict'] + took
    return f'{row["objective"]:,.0f}{took}'

def solvers_markdown(folder:Path=RESULTS)->str: # with the file of bench/alignment.py
    "Objective and seconds of every solver on pairs of networks; empty without the file."
    rows = {tuple(r['name'].split('/')): r for r in rows_of(folder, 'alignment')}
    if not rows:
        return ''
    methods = different(method for _, method in rows)
    lines = []
    for net in different(net for net, _ in rows):
        before = [r['before'] for (n, _), r in rows.items() if n == net and 'before' in r]
        as_found = before[0] if before else math.nan
        lines.append((net, f'{as_found:,.0f}', *(_solved(rows.get((net, m))) for m in methods)))
    return markdown_table(['pair', 'as found', *(f'`{m}`' for m in methods)], lines)

# -- evaluation

def _timed(folder, *benches):
    "name -> seconds of a plain loop and of this package"
    found = {}
    for bench in benches:
        for r in rows_of(folder, bench):
            if 'loop' in r.get('seconds', ()):
                found[r['name']] = (r['seconds']['loop'], r['seconds']['ours'])
    return found

def _flips(folder):
    "The same for paths of flips."
    rows = [r for r in rows_of(folder, 'binary') if r['what'] == 'flips']
    return {f'{r["arch"]}, {r["order"]} flips': (r['full'], r['flips']) for r in rows}

def _ratio(found, name):
    if name not in found:
        return ''
    loop, ours = found[name]
    return f'{loop/ours:.2f}'

def speeds_markdown(folder:Path=RESULTS)->str: # with the files of bench/evaluation.py, bench/bends.py and bench/binary.py
    "Seconds of a plain loop and of this package for the same results, in one run each; of other machines the ratio."
    here = _timed(folder, 'evaluation', 'bends') | _flips(folder)
    others = {}
    for p in sorted(Path(folder).glob('evaluation-*.json')):
        machine = json.loads(p.read_text())['machine']
        where = p.stem.removeprefix('evaluation')
        others[f'on {machine["cpu"]}, {machine["simd"]}'] = _timed(folder, f'evaluation{where}', f'bends{where}')
    lines = []
    for name in different(n for found in (here, *others.values()) for n in found):
        seconds = [f'{s:.2g} s' for s in here.get(name, ())] or ['', '']
        lines.append((name, *seconds, _ratio(here, name), *(_ratio(found, name) for found in others.values())))
    return markdown_table(['what', 'a plain loop', 'here', 'ratio', *others], lines)

# -- studies

def _machine(m):
    return m['gpu'] or f'{m["cores"]} cores, {m["cpu"]}, {m["simd"]}'

def studies_markdown(folder:Path=RESULTS)->str: # with the file of bench/study.py
    "Seconds that the study of each network takes from nothing, and where; empty without the file."
    rows = rows_of(folder, 'study')
    if not rows:
        return ''
    lines = []
    for r in rows:
        images = 'all' if r['n_train'] is None else f'{r["n_train"]:,}'
        accepted = f'{r["accepted"]} of {r["minima"]}'
        lines.append((f'`{r["arch"]}`', images, f'{r["width"]:g}', accepted, f'{r["seconds"]:,.0f}', _machine(r['machine'])))
    return markdown_table(['network', 'images', 'width', 'minimizers accepted', 'seconds', 'on'], lines)

TABLES = dict(networks=networks_markdown, solvers=solvers_markdown, speeds=speeds_markdown, studies=studies_markdown)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('tables', nargs='*', help=', '.join(TABLES))
    p.add_argument('--results', type=Path, default=RESULTS)
    o = p.parse_args()
    unknown = [t for t in o.tables if t not in TABLES]
    if unknown:
        p.error(f'there is no table {", ".join(unknown)}; there are {", ".join(TABLES)}')
    print('\n\n'.join(TABLES[t](o.results) for t in o.tables or TABLES))
