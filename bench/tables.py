"""The tables of the benches, in Markdown, from the files in bench/results.

Nothing is measured here. A table without a file is empty; a cell without a row is empty.
"""
import sys
from pathlib import Path
from landscape_nb.report import markdown_table
sys.path.insert(0, str(Path(__file__).resolve().parent))
from kept import RESULTS, read

def rows_of(name, folder=RESULTS): return read(Path(folder)/f'{name}.json')['rows']

def unique(values): return list(dict.fromkeys(values))

def measured(row): return f'{row["machine"]}, {row["date"]}' if 'date' in row else row['machine']

# networks

LISTS = dict(torchvision='torchvision, every classifier', timm='timm, 30 assorted')
PEERS = '16 of torchvision and the small nets of the tests'

def network_row(where, tool, rows):
    "How often a tool was right, wrong, or had no answer; and the share of channels that it moves where it is right."
    def count(*verdicts): return sum(r['verdict'].startswith(verdicts) for r in rows)
    right, refused, wrong = count('verified', 'right'), count('refused'), count('WRONG', 'wrong')
    covered = sum(r.get('coverage') or 0. for r in rows if r['verdict'].startswith(('verified', 'right')))
    name = '`find_symmetries`' if tool == 'ours' else f'`{tool}`'
    return where, name, len(rows), right, refused, wrong, len(rows)-right-refused-wrong, f'{covered/len(rows):.1%}'

def networks_markdown(folder=RESULTS):
    "What `find_symmetries` and other tools find in lists of networks (symmetries.json, peers.json)."
    listed, compared, lines = rows_of('symmetries', folder), rows_of('peers', folder), []
    for name, where in LISTS.items():
        mine = [r for r in listed if r['list'] == name]
        if mine: lines.append(network_row(where, 'ours', mine))
    for tool in unique(r['name'].rpartition('/')[2] for r in compared):
        lines.append(network_row(PEERS, tool, [r for r in compared if r['name'].endswith(f'/{tool}')]))
    head = ['list', 'tool', 'networks', 'right', 'refused', 'wrong', 'crash or none', 'covered, of all']
    return markdown_table(head, lines)

# solvers

def solver_cell(row):
    "Objective and seconds, or what went wrong."
    if row is None: return ''
    seconds = f', {row["seconds"]:.2g} s' if 'seconds' in row else ''
    return (f'{row["objective"]:,.0f}' if row['verdict'] == 'right' else row['verdict']) + seconds

def solvers_markdown(folder=RESULTS):
    "Objective and seconds of every solver on pairs of networks (alignment.json), a line per pair and machine."
    rows = rows_of('alignment', folder)
    by = {(*r['name'].split('/'), r['machine']): r for r in rows}
    methods = unique(method for _, method, _ in by)
    lines = []
    for net, machine in unique((net, machine) for net, _, machine in by):
        found = [by.get((net, m, machine)) for m in methods]
        before = [r['before'] for r in found if r and 'before' in r]
        lines.append((net, f'{before[0]:,.0f}' if before else '', *map(solver_cell, found), machine))
    return markdown_table(['pair', 'as found', *(f'`{m}`' for m in methods), 'on'], lines)

# speeds

def timed(folder=RESULTS):
    "(name, seconds of a plain loop, seconds here, machine) of evaluations, angles and flips."
    found = []
    for r in [*rows_of('evaluation', folder), *rows_of('bends', folder)]:
        seconds = r.get('seconds')
        if isinstance(seconds, dict) and {'loop', 'ours'} <= seconds.keys():
            found.append((r['name'], seconds['loop'], seconds['ours'], measured(r)))
    flips = [r for r in rows_of('binary', folder) if r['what'] == 'flips']
    return found + [(f'{r["arch"]}, {r["order"]} flips', r['full'], r['flips'], measured(r)) for r in flips]

def speeds_markdown(folder=RESULTS, names=None):
    "Seconds of a plain loop and of this package for the same results, and their ratio, a line per measurement."
    rows = [r for r in timed(folder) if names is None or r[0] in names]
    order = unique(name for name, *_ in rows)
    rows = sorted(rows, key=lambda r: order.index(r[0]))
    lines = ((name, f'{loop:.2g} s', f'{ours:.2g} s', f'{loop/ours:.2f}', on) for name, loop, ours, on in rows)
    return markdown_table(['what', 'a plain loop', 'here', 'ratio', 'on'], lines)

# what else is kept

def studies_markdown(folder=RESULTS):
    "Seconds that the study of each network takes from nothing (study.json)."
    def images(row): return 'all' if row['n_train'] is None else f'{row["n_train"]:,}'
    def accepted(row): return f'{row["accepted"]} of {row["minima"]}'
    rows = sorted(rows_of('study', folder), key=lambda r: (r['arch'], r['machine']))
    lines = ((f'`{r["arch"]}`', images(r), f'{r["width"]:g}', accepted(r), f'{r["seconds"]:,.0f}', measured(r)) for r in rows)
    return markdown_table(['network', 'images', 'width', 'minimizers accepted', 'seconds', 'on'], lines)

def devices_markdown(folder=RESULTS):
    "Seconds of the search and of an alignment, images a second, and predictions that differ from the CPU's (device.json)."
    lines = ((f'`{r["arch"]}`', f'{r["width"]:g}', f'{r["find_seconds"]:.2g} s', f'{r["align_seconds"]:.2g} s', f'{r["images_per_second"]:,.0f}',
              f'{r["differing_predictions"]} of {r["compared"]:,}', measured(r)) for r in rows_of('device', folder))
    return markdown_table(['network', 'width', 'found in', 'aligned in', 'images a second', 'predictions that differ', 'on'], lines)

def planted_markdown(folder=RESULTS):
    "How often a planted permutation is found again (planted.json, and binary.json for networks of signs)."
    lines = [(r['network'], f'{r["noise"]:g}', r['method'], f'{r["recovered"]} of {r["trials"]}', f'{r["units"]:.1%}', measured(r)) for r in rows_of('planted', folder)]
    for r in rows_of('binary', folder):
        if r['what'] == 'planted': lines.append((f'`{r["arch"]}`', '', r['method'], f'{r["recovered"]} of {r["trials"]}', '', measured(r)))
    return markdown_table(['network', 'noise', 'solver', 'recovered', 'units at home', 'on'], lines)

def thresholds_markdown(folder=RESULTS):
    "Barriers between binary networks with and without batch normalisation, by what is done to the thresholds (binary.json)."
    rows = [r for r in rows_of('binary', folder) if r['what'] == 'thresholds']
    lines = ((f'`{r["arch"]}`', r['thresholds'], f'{r["mean"]:.3f}', ', '.join(f'{b:.3f}' for b in r['barriers']), measured(r)) for r in rows)
    return markdown_table(['network', 'thresholds on the path', 'barrier', 'pair by pair', 'on'], lines)

def steps_markdown(folder=RESULTS):
    "Milliseconds of a step of a bend on straight legs and on the torus (bends.json)."
    rows = [r for r in rows_of('bends', folder) if 'milliseconds' in r]
    lines = ((r['name'], *(f'{r["milliseconds"][k]:.1f}' for k in ('straight', 'ours', 'loop')), measured(r)) for r in rows)
    return markdown_table(['what', 'straight legs, ms', 'geodesics, ms', 'geodesics by autograd, ms', 'on'], lines)

def training_markdown(folder=RESULTS):
    "How much faster minimizers train than by a plain loop (training.json)."
    lines = []
    for r in rows_of('training', folder):
        ratios = r['ratio'] if isinstance(r['ratio'], dict) else {'': r['ratio']}
        lines += [(r['name'], way, f'{ratio:.2f}', measured(r)) for way, ratio in ratios.items() if way != 'plain']
    return markdown_table(['what', 'way', 'ratio', 'on'], lines)

def explorer_markdown(folder=RESULTS):
    "Seconds that the explorer takes to open a pair, and to move its slider (explorer.json)."
    rows = [r for r in rows_of('explorer', folder) if 'seconds' in r]
    names = unique(k for r in rows for k in r['seconds'])
    lines = ((f'`{r["name"]}`', *(f'{r["seconds"][k]:.2g}' if k in r['seconds'] else '' for k in names), measured(r)) for r in rows)
    return markdown_table(['network', *(f'{k.replace("_", " ")}, s' for k in names), 'on'], lines)

def kills_markdown(folder=RESULTS):
    "Sweeps whose processes were killed again and again, and whether their tables are the same (kills.json)."
    lines = ((r['kills'], r['sweeps'], r['recipes'], r['processes'], 'yes' if r['equal'] else 'NO', measured(r)) for r in rows_of('kills', folder))
    return markdown_table(['kills', 'sweeps', 'recipes', 'processes', 'same tables', 'on'], lines)
