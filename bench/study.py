"""How long does the study take from nothing? One row per network and processor, in one JSON.

    python bench/study.py mlp lenet … [--runs out/study] [--out bench/results/study.json]

`papermill nbs/reproduce.ipynb -r arch …` with nothing else given, into an empty folder, as a user runs it on this machine: the seconds of the whole command and of each section of the page, and how many of the minima
were accepted. Nothing else may run meanwhile. Rows of other networks, and of other processors, stay. `make results ARCH=… OUT=out/study/…` keeps what a run found.
"""
import argparse, json, shutil, subprocess, sys, time
from pathlib import Path
import nbformat
from landscape_nb.report import read_table
from kept import keep

ROOT = Path(__file__).resolve().parent.parent

def sections(page):
    "Seconds of the cells under each heading of an executed page"
    found, name = {}, 'start'
    for c in page.cells:
        if c.cell_type == 'markdown' and c.source.startswith('## '): name = c.source.splitlines()[0][3:]
        found[name] = found.get(name, 0.) + (c.metadata.get('papermill', {}).get('duration') or 0.)
    return {k: round(s, 1) for k, s in found.items()}

def study(arch, runs):
    "The row of one network"
    out = runs/arch
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    page = out/'reproduce.ipynb'
    papermill = [sys.executable, '-m', 'papermill', 'nbs/reproduce.ipynb', str(page), '-k', 'python3', '--no-progress-bar', '-r', 'arch', arch, '-r', 'out', str(out)]
    t0 = time.perf_counter()
    subprocess.run(papermill, cwd=ROOT, check=True)
    seconds = time.perf_counter() - t0
    made, minima = json.loads((out/'environment.json').read_text()), read_table(out/'tables'/'minima.csv')
    return dict(arch=arch, **{k: made['parameters'][k] for k in ('dataset', 'preset', 'n_train', 'width')}, seconds=seconds, sections=sections(nbformat.read(page, 4)),
                minima=len(minima), accepted=int(minima.accepted.sum()), machine=made['machine'])

if __name__ == '__main__':
    p = argparse.ArgumentParser()
    p.add_argument('arch', nargs='+')
    p.add_argument('--runs', type=Path, default=ROOT/'out'/'study')
    p.add_argument('--out', type=Path, default=ROOT/'bench'/'results'/'study.json')
    o = p.parse_args()
    for arch in o.arch:
        row = study(arch, o.runs.absolute())
        print(json.dumps(row), flush=True)
        keep(o.out, [dict(name=arch, **row)], row['machine'])
