"The notebooks of the checkout, read without running them."
import ast, re
from dataclasses import dataclass
from pathlib import Path
import nbformat

ROOT = Path(__file__).resolve().parent.parent
ANYTHING = ('index', 'tour', 'reproduce')  # pages that may use every room

@dataclass
class Page:
    path: Path
    def __post_init__(self): self.nb = nbformat.read(self.path, 4)
    @property
    def name(self): return self.path.stem
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

def pages(folder=ROOT/'nbs'): return [Page(p) for p in sorted(folder.glob('*.ipynb'))]

def tree(source):
    "The syntax tree of a cell, its magics left out."
    return ast.parse(re.sub(r'^(\s*)[%!].*$', r'\1pass', source, flags=re.M))

def rooms_used(source, package='landscape_nb'):
    "Names of the rooms that a cell imports, however it writes it."
    for n in ast.walk(tree(source)):
        if isinstance(n, ast.Import): names = [a.name for a in n.names]
        elif isinstance(n, ast.ImportFrom):
            base = '.'.join(filter(None, [package if n.level else '', n.module or '']))
            names = [f'{base}.{a.name}' for a in n.names]
        else: continue
        yield from (p[1] for p in (name.split('.') for name in names) if p[0] == package and len(p) > 1)
