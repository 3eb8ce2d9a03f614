"""What a type checker is told of the package: every module as a stub, methods that are added by `@patch` inside their classes.

`python tools/stubs.py FOLDER` writes the stubs and `py.typed` there (setup.py does so in every wheel); with `--check` it writes sources instead, bodies and all, for a type checker to judge."""
import ast, sys
from collections import defaultdict
from copy import copy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'landscape_nb'

def patch_of(node):
    "The class that a function is added to, else None; whether as a property."
    if not isinstance(node, ast.FunctionDef): return None, False
    for d in node.decorator_list:
        call = isinstance(d, ast.Call)
        if ast.unparse(d.func if call else d) == 'patch':
            return ast.unparse(node.args.args[0].annotation), call and any(k.arg == 'as_prop' for k in d.keywords)
    return None, False

def docstring(node):
    "Only its docstring, as a body."
    doc = ast.get_docstring(node)
    return [ast.Expr(ast.Constant(doc))] if doc else []

def signature(f, prop=False):
    "A function or method without its body."
    keep = [d for d in f.decorator_list if ast.unparse(d).split('(')[0] not in ('patch', 'torch.no_grad', 'rule', 'lru_cache', 'cache')]
    f, f.args = copy(f), copy(f.args)
    if f.args.args and f.args.args[0].arg == 'self': f.args.args = [ast.arg('self'), *f.args.args[1:]]
    f.body, f.decorator_list = docstring(f) + [ast.Expr(ast.Constant(...))], ([ast.Name('property')] if prop else []) + keep
    return ast.fix_missing_locations(f)

def attributes(c, later):
    "`self.a = a` of a parameter with a type, and `self.a:type = …`, as declarations; what else is assigned, there or `later`, is any value."
    out = dict.fromkeys(later)
    for f in c.body:
        if not isinstance(f, ast.FunctionDef): continue
        types = {a.arg: a.annotation for a in [*f.args.args, *f.args.kwonlyargs] if a.annotation is not None}
        for n in ast.walk(f):
            targets = n.targets if isinstance(n, ast.Assign) else [n.target] if isinstance(n, ast.AnnAssign) else []
            flat = [(t, n.value) for t in targets if not isinstance(t, ast.Tuple)]
            for t in targets:
                if isinstance(t, ast.Tuple): flat += zip(t.elts, n.value.elts if isinstance(n.value, ast.Tuple) else [None]*len(t.elts))
            for t, v in flat:
                if not (isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id == 'self'): continue
                kind = n.annotation if isinstance(n, ast.AnnAssign) else types.get(v.id) if isinstance(v, ast.Name) else None
                if out.get(t.attr) is None: out[t.attr] = kind
    own = {t.target.id for t in c.body if isinstance(t, ast.AnnAssign)} | {f.name for f in c.body if isinstance(f, ast.FunctionDef)}
    return [ast.AnnAssign(ast.Name(k), v or ast.Name('Any'), None, 1) for k, v in out.items() if k not in own]

class Module:
    "The syntax of one module: its imports, and what it adds to classes."
    def __init__(self, path):
        self.name, self.source = path.stem, path.read_text(encoding='utf-8')
        self.tree = ast.parse(self.source)
        self.imports, self.classes, self.patches = {}, {}, defaultdict(list)
        for n in self.tree.body:
            if isinstance(n, (ast.Import, ast.ImportFrom)):
                for a in n.names: self.imports[a.asname or a.name.split('.')[0]] = n, a
            elif isinstance(n, ast.ClassDef): self.classes[n.name] = n
            cls, prop = patch_of(n)
            if cls: self.patches[cls].append((n, prop))

    def later(self, cls):
        "Attributes that are assigned to a class after it was made."
        at = [t for n in self.tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Attribute)]
        return [t.attr for t in at if isinstance(t.value, ast.Name) and t.value.id == cls]

    def where(self, name):
        "The import that a stub elsewhere needs for a name that holds here; None for a builtin."
        if name in self.imports:
            n, a = self.imports[name]
            return ast.unparse(ast.ImportFrom(n.module, [a], n.level) if isinstance(n, ast.ImportFrom) else ast.Import([a]))
        tops = {t.id for n in self.tree.body if isinstance(n, (ast.Assign, ast.AnnAssign)) for t in (n.targets if isinstance(n, ast.Assign) else [n.target]) if isinstance(t, ast.Name)}
        return f'from .{self.name} import {name}' if name in tops | set(self.classes) | {n.name for n in self.tree.body if isinstance(n, ast.FunctionDef)} else None

def names(f):
    "Names that a signature uses, those in quotes too."
    held = [f.returns, *f.args.defaults, *f.args.kw_defaults, *(a.annotation for a in [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs, f.args.vararg, f.args.kwarg] if a)]
    for h in held:
        if isinstance(h, ast.Constant) and isinstance(h.value, str) and h is not None and h not in f.args.defaults: h = ast.parse(h.value, mode='eval')
        if h is not None: yield from (n.id for n in ast.walk(h) if isinstance(n, ast.Name))

class Package:
    "All modules; which methods each class gets, from which module."
    def __init__(self, folder=ROOT/PACKAGE):
        self.modules = {p.stem: Module(p) for p in sorted(folder.glob('*.py')) if p.stem != '_modidx'}
        self.added = defaultdict(list)          # (module, class) -> [(module of the patch, function, whether a property)]
        for m in self.modules.values():
            for cls, fs in m.patches.items(): self.added[self.home(m, cls), cls] += [(m, *f) for f in fs]

    def home(self, m, cls):
        "The name of the module in which a class is defined."
        while cls not in m.classes: m = self.modules[m.imports[cls][0].module]
        return m.name

    def methods(self, m, c):
        "(declarations of the added methods, imports that they need)"
        added = self.added[m.name, c.name]
        needed = {line for home, f, _ in added if home is not m for n in names(f) if (line := home.where(n)) and not line.startswith(f'from .{m.name} import') and n not in m.imports and n not in m.classes}
        return [signature(f, prop) for _, f, prop in added], needed

    def stub(self, name):
        "The module without bodies."
        m = self.modules[name]
        out, needed = [], {'from typing import Any'}
        for n in m.tree.body:
            if patch_of(n)[0]: continue
            if isinstance(n, ast.FunctionDef): out.append(signature(n))
            elif isinstance(n, ast.ClassDef):
                more, lines = self.methods(m, n)
                needed |= lines
                body = docstring(n) + [b for b in n.body if isinstance(b, (ast.AnnAssign, ast.Assign))] + attributes(n, m.later(n.name))
                body += [signature(b) for b in n.body if isinstance(b, ast.FunctionDef)] + more
                n = copy(n)
                n.body = body or [ast.Expr(ast.Constant(...))]
                out.append(n)
            elif isinstance(n, ast.ImportFrom) and n.level:          # `X as X`: may be imported from here too
                n = copy(n)
                n.names = [ast.alias(a.name, a.asname or a.name) for a in n.names]
                out.append(n)
            elif isinstance(n, ast.Assign) and not all(isinstance(t, (ast.Name, ast.Tuple)) for t in n.targets): continue     # of an attribute
            elif isinstance(n, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)) or isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant): out.append(n)
        at = next((i for i, n in enumerate(out) if isinstance(n, (ast.Import, ast.ImportFrom))), 0)
        out[at:at] = [ast.parse(line).body[0] for line in sorted(needed)]
        return ast.unparse(ast.fix_missing_locations(ast.Module(out, []))) + '\n'

    def checked(self, name):
        "The module with its bodies, line for line; added methods are declared in their classes and stand as functions of a name of their own."
        m = self.modules[name]
        lines = m.source.split('\n')
        for n in m.tree.body:
            cls, _ = patch_of(n)
            if cls:
                for d in n.decorator_list:
                    if ast.unparse(d).startswith('patch'): lines[d.lineno-1] = ''
                lines[n.lineno-1] = lines[n.lineno-1].replace(f'def {n.name}(', f'def _{cls}_{n.name}(', 1)
        tail = {}
        for c in m.classes.values():
            more, needed = self.methods(m, c)
            if more:
                inner = '\n'.join('        ' + l for l in '\n'.join(sorted(needed) + [ast.unparse(f) for f in more]).split('\n'))
                tail[c.end_lineno] = '    if TYPE_CHECKING:\n' + inner
        text = '\n'.join(l + ('\n' + tail[i] if i in tail else '') for i, l in enumerate(lines, 1))
        first = next(n.lineno for n in m.tree.body if not isinstance(n, ast.Expr))
        head = 'from __future__ import annotations; from typing import TYPE_CHECKING, Any'
        lines = text.split('\n')
        return '\n'.join([*lines[:first-1], head, *lines[first-1:]])

def write(folder, source=ROOT/PACKAGE, check=False):
    "Stubs of the modules in `source` and `py.typed`, in `folder`; sources to check instead with `check`."
    package, folder = Package(Path(source)), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in package.modules:
        if check: (folder/f'{name}.py').write_text(package.checked(name), encoding='utf-8')
        else: (folder/f'{name}.pyi').write_text(package.stub(name), encoding='utf-8')
    (folder/'py.typed').touch()

if __name__ == '__main__': write(sys.argv[1], check='--check' in sys.argv[2:])
