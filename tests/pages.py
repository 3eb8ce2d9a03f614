"The notebooks of the checkout, read without running them."
import ast, re
from dataclasses import dataclass
from pathlib import Path
import nbformat

ROOT = Path(__file__).resolve().parent.parent

@dataclass(eq=False)
class Page:
    path: Path
    def __post_init__(self): self.nb = nbformat.read(self.path, 4)
    @property
    def name(self): return self.path.stem
    @property
    def folder(self):
        "The room's folder, '' for the pages at the top."
        return '' if self.path.parent.name == 'nbs' else self.path.parent.name
    @property
    def code(self): return [c for c in self.nb.cells if c.cell_type == 'code']
    @property
    def skipped(self):
        "Whether a raw first cell keeps the page out of nbdev_test."
        c = self.nb.cells[0]
        return c.cell_type == 'raw' and re.search(r'^\s*-?\s*skip_exec:\s*true', c.source, re.M) is not None
    @property
    def module(self):
        "The module that the page exports to, or None."
        found = [m[1] for c in self.code for m in re.finditer(r'^#\s*\|\s*default_exp\s+(\S+)', c.source, re.M)]
        return found[0] if found else None

def pages(folder=ROOT/'nbs'):
    "Every page, folder by folder; the executed notebooks of kept runs are no pages."
    found = [p for p in folder.rglob('*.ipynb') if not {'.ipynb_checkpoints', 'results'} & {*p.relative_to(folder).parts}]
    return [Page(p) for p in sorted(found, key=lambda p: (len(p.relative_to(folder).parts), p))]

def tree(source):
    "The syntax tree of a cell, its magics left out."
    return ast.parse(re.sub(r'^(\s*)[%!].*$', r'\1pass', source, flags=re.M))

def rooms_used(source, rooms, package='landscape_nb'):
    "Those of `rooms` (modules such as 'search.group') that a cell imports, however it writes it."
    for n in ast.walk(tree(source)):
        if isinstance(n, ast.Import): names = [a.name for a in n.names]
        elif isinstance(n, ast.ImportFrom):
            base = '.'.join(filter(None, [package if n.level else '', n.module or '']))
            names = [f'{base}.{a.name}' for a in n.names]
        else: continue
        for parts in (name.split('.') for name in names):
            ends = ['.'.join(parts[1:k]) for k in range(len(parts), 1, -1)]
            if parts[0] == package: yield from [e for e in ends if e in rooms][:1]
