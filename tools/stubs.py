"""What a type checker is told of the package. No checker follows fastcore's `@patch`: `ty` calls each method that is
added by it a missing attribute. So every module is written once more with these methods inside their classes.

`python tools/stubs.py FOLDER` writes stubs and `py.typed` there, as setup.py does in every wheel;
with `--check` the bodies too, for a checker to judge (`make types`)."""
import ast, sys
from copy import copy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'landscape_nb'
DECORATORS = ('patch', 'torch.no_grad', 'rule', 'lru_cache', 'cache')      # which leave the arguments as they are
ELLIPSIS = ast.Expr(ast.Constant(...))

def patch_of(node):
    "The class that a function is added to, else None; whether as a property."
    for d in getattr(node, 'decorator_list', ()):
        call = isinstance(d, ast.Call)
        if ast.unparse(d.func if call else d) == 'patch':
            return ast.unparse(node.args.args[0].annotation), call and any(k.arg == 'as_prop' for k in d.keywords)
    return None, False

def method(f, prop):
    "A function under `@patch` as it would stand in its class."
    f, f.args = copy(f), copy(f.args)
    f.args.args = [ast.arg('self'), *f.args.args[1:]]
    keep = [d for d in f.decorator_list if not ast.unparse(d).startswith('patch')]
    f.decorator_list = [ast.Name('property')]*prop + keep
    return f

def untyped(f, prop):
    "The same without types and body: of a method that another module adds, whose names do not hold here."
    f = method(f, prop)
    a = f.args = copy(f.args)
    bare = lambda args: [ast.arg(o.arg) for o in args]
    a.args, a.kwonlyargs = bare(a.args), bare(a.kwonlyargs)
    a.defaults = [ast.Constant(...)]*len(a.defaults)
    a.kw_defaults = [d and ast.Constant(...) for d in a.kw_defaults]
    f.body, f.returns = [ELLIPSIS], ast.Name('Any')
    return f

def docstring(node):
    "Only its docstring, as a body."
    doc = ast.get_docstring(node)
    return [ast.Expr(ast.Constant(doc))] if doc else []

def signature(f):
    "A function or method without its body."
    f = copy(f)
    f.decorator_list = [d for d in f.decorator_list if ast.unparse(d).split('(')[0] not in DECORATORS]
    f.body = docstring(f) + [ELLIPSIS]
    return f

def assigned(f):
    "(attribute of self, its type or None) for every assignment in a method."
    types = {a.arg: a.annotation for a in [*f.args.args, *f.args.kwonlyargs]}
    for n in ast.walk(f):
        if isinstance(n, ast.AnnAssign): pairs = [(n.target, None)]
        elif isinstance(n, ast.Assign): pairs = [(t, n.value) for t in n.targets]
        else: continue
        for t, v in pairs:
            if isinstance(t, ast.Tuple):
                pairs += zip(t.elts, v.elts if isinstance(v, ast.Tuple) else [None]*len(t.elts))
            elif isinstance(t, ast.Attribute) and ast.unparse(t.value) == 'self':
                yield t.attr, n.annotation if isinstance(n, ast.AnnAssign) else types.get(getattr(v, 'id', None))

def attributes(c):
    "What methods assign to `self`, as declarations: of a parameter, or annotated, with its type, else any value."
    found = {}
    for f in c.body:
        if not isinstance(f, ast.FunctionDef): continue
        for name, kind in assigned(f): found[name] = found.get(name) or kind
    own = {f.name for f in c.body if isinstance(f, ast.FunctionDef)}
    own |= {ast.unparse(n.target) for n in c.body if isinstance(n, ast.AnnAssign)}
    own |= {ast.unparse(t) for n in c.body if isinstance(n, ast.Assign) for t in n.targets}
    return [ast.AnnAssign(ast.Name(k), v or ast.Name('Any'), None, 1) for k, v in found.items() if k not in own]

class Module:
    "The syntax of one module, and the methods that it adds to classes: {class: [(function, whether a property)]}."
    def __init__(self, path, name):
        self.name, self.source = name, path.read_text(encoding='utf-8')
        self.tree = ast.parse(self.source)
        self.classes = {n.name: n for n in self.tree.body if isinstance(n, ast.ClassDef)}
        self.patches = {}
        for n in self.tree.body:
            cls, prop = patch_of(n)
            if cls: self.patches.setdefault(cls, []).append((n, prop))

    def later(self, cls):
        "Attributes that are assigned to a class after it was made, as declarations."
        for n in self.tree.body:
            for t in n.targets if isinstance(n, ast.Assign) else ():
                if isinstance(t, ast.Attribute) and ast.unparse(t.value) == cls:
                    yield ast.AnnAssign(ast.Name(t.attr), ast.Name('Any'), None, 1)

class Package:
    "All modules by their names, such as 'torus' and 'search.group', and what each adds to classes of another."
    def __init__(self, folder=ROOT/PACKAGE):
        at = {p: '.'.join(p.relative_to(folder).with_suffix('').parts) for p in sorted(folder.rglob('*.py'))}
        self.modules = {name: Module(p, name) for p, name in at.items() if name != '_modidx'}

    def added(self, m, cls):
        "[(module of the patch, function, whether a property)] of a class of module `m`."
        return [(o, *f) for o in self.modules.values() for f in o.patches.get(cls, ())
                if o is m or cls not in o.classes]

    def moved(self, m):
        "The statements of a module, every class with the methods that are added to it."
        for n in m.tree.body:
            cls, _ = patch_of(n)
            if cls in m.classes: continue
            n = copy(n)
            if cls:                                       # stays a function, of a name of its own
                n.name = f'_{cls}_{n.name}'
                n.decorator_list = []
            if isinstance(n, ast.ClassDef):
                more = [method(f, p) if o is m else untyped(f, p) for o, f, p in self.added(m, n.name)]
                n.body = [*n.body, *more]
            yield n

    def stub(self, m):
        "The statements of a module without what only runs."
        added = {f'_{cls}_{f.name}' for cls, found in m.patches.items() for f, _ in found}
        for n in self.moved(m):
            if isinstance(n, ast.FunctionDef):
                if n.name not in added: yield signature(n)
            elif isinstance(n, ast.ClassDef):
                fields = [b for b in n.body if isinstance(b, (ast.AnnAssign, ast.Assign))]
                methods = [signature(b) for b in n.body if isinstance(b, ast.FunctionDef)]
                n.body = [*docstring(n), *fields, *m.later(n.name), *attributes(n), *methods] or [ELLIPSIS]
                yield n
            elif isinstance(n, ast.ImportFrom) and n.level:         # `X as X`: may be imported from here too
                n.names = [ast.alias(a.name, a.asname or a.name) for a in n.names]
                yield n
            elif isinstance(n, ast.Assign):
                if all(isinstance(t, (ast.Name, ast.Tuple)) for t in n.targets): yield n
            elif isinstance(n, (ast.Import, ast.ImportFrom, ast.AnnAssign)): yield n
            elif isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant): yield n

    def text(self, m, check=False):
        "A module for a type checker: a stub, or with `check` all that it does."
        body = [*(self.moved(m) if check else self.stub(m))]
        head = 'from __future__ import annotations\n'*check + 'from typing import Any\n'
        return head + ast.unparse(ast.fix_missing_locations(ast.Module(body, []))) + '\n'

def write(folder, source=ROOT/PACKAGE, check=False):
    "Stubs of the modules in `source` and `py.typed`, in `folder`; sources to check instead with `check`."
    package, folder = Package(Path(source)), Path(folder)
    for name, m in package.modules.items():
        at = folder/f'{name.replace(".", "/")}.py{"" if check else "i"}'
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(package.text(m, check), encoding='utf-8')
    (folder/'py.typed').touch()

if __name__ == '__main__': write(sys.argv[1], check='--check' in sys.argv[2:])
