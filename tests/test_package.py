"What is built from the checkout: it installs, imports and checks, and tells a type checker what it holds."
import ast, json, os, re, shutil, subprocess, sys
from pathlib import Path
import pytest
from pages import ROOT

BIN = Path(sys.executable).parent
ENV = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}     # the checkout must not be found by chance

def run(*cmd, **kw):
    r = subprocess.run([*map(str, cmd)], capture_output=True, text=True, env=ENV, **kw)
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout

@pytest.fixture(scope='session')
def dist(once, root):
    "sdist, and the wheel built from it, of a copy of the checkout."
    left = shutil.ignore_patterns('.git', '.venv', 'out', 'data', '_site', 'build', 'dist', '*.egg-info', '__pycache__')
    def make(at):
        shutil.copytree(root, at/'checkout', ignore=left)
        run(sys.executable, '-m', 'build', '--no-isolation', '-o', at, at/'checkout')
    return once('dist', make)

@pytest.fixture(scope='session')
def installed(once, dist):
    "An environment that holds the wheel, and sees the libraries of this one behind it: its Python, and where it keeps packages."
    where = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    def make(at):
        run(sys.executable, '-m', 'venv', '--without-pip', at)
        site = Path(run(at/'bin/python', '-c', where).strip())
        # as a plain path: what is installed there in place of a folder stays unseen
        (site/'behind.pth').write_text(run(sys.executable, '-c', where).strip())
        wheel, = dist.glob('*.whl')
        run(sys.executable, '-m', 'pip', '--python', at/'bin/python', 'install', '--no-deps', '--no-index', wheel)
    at = once('installed', make)
    site, = at.glob('lib/python*/site-packages')
    return at/'bin/python', site

def test_the_wheel_is_small(dist):
    wheel, = dist.glob('*.whl')
    assert wheel.stat().st_size < 2**20

ASK = '''
import importlib, inspect, json, sys
out = {}
for room in sys.argv[1:]:
    m = importlib.import_module('landscape_nb.'+room)
    own = [o for o in vars(m).values() if getattr(o, '__module__', '') == m.__name__]
    plain = lambda f: inspect.isfunction(f) and not f.__name__.startswith('__') and f.__name__ != '<lambda>'
    names = lambda f: [*inspect.signature(f).parameters]
    classes = {o.__name__: {k: names(f) for k, f in vars(o).items() if plain(f)} for o in own if inspect.isclass(o)}
    out[room] = dict(file=m.__file__, functions={f.__name__: names(f) for f in own if plain(f)}, classes=classes)
print(json.dumps(out))
'''

@pytest.fixture(scope='session')
def imported(once, installed, root):
    "What every module holds once it is imported from the wheel, methods that other modules add among it."
    paths = [p.relative_to(root/'landscape_nb').with_suffix('') for p in (root/'landscape_nb').rglob('[!_]*.py')]
    rooms = sorted('.'.join(p.parts) for p in paths)
    def make(at): (at/'held.json').write_text(run(installed[0], '-c', ASK, *rooms, cwd=at))
    return json.loads((once('imported', make)/'held.json').read_text())

def path_of(room): return room.replace('.', '/')

def test_every_module_imports_from_the_wheel(installed, imported):
    assert {'torus', 'search.group'} <= imported.keys()
    for room, held in imported.items(): assert held['file'] == str(installed[1]/f'landscape_nb/{path_of(room)}.py')

def test_requirements_agree(installed):
    assert 'No broken requirements' in run(sys.executable, '-m', 'pip', '--python', installed[0], 'check')

def test_every_module_has_types(installed):
    at = installed[1]/'landscape_nb'
    assert (at/'py.typed').exists()
    names = lambda end: {p.relative_to(at).with_suffix('') for p in at.rglob(f'*.{end}')}
    assert names('pyi') == names('py') - {Path('_modidx')}

def arguments(f): return [a.arg for a in [*f.args.posonlyargs, *f.args.args, *filter(None, [f.args.vararg]), *f.args.kwonlyargs, *filter(None, [f.args.kwarg])]]

def test_stubs_hold_what_is_there(installed, imported):
    "Every function and every method, with the arguments that it has when the package runs."
    count = 0
    for room, held in imported.items():
        stub = ast.parse((installed[1]/f'landscape_nb/{path_of(room)}.pyi').read_text()).body
        told = {n.name: arguments(n) for n in stub if isinstance(n, ast.FunctionDef)}
        assert {k: told.get(k) for k in held['functions']} == held['functions'], room
        for c in (n for n in stub if isinstance(n, ast.ClassDef)):
            methods = {n.name: arguments(n) for n in c.body if isinstance(n, ast.FunctionDef)}
            real = {k: v for k, v in held['classes'][c.name].items() if k in methods or not k.startswith('_')}
            assert {k: methods.get(k) for k in real} == real, f'{room}.{c.name}'
            count += len(real)
    assert count > 150

def ty(python, *args, cwd):
    r = subprocess.run([BIN/'ty', 'check', '--python', python, '--output-format', 'concise', *args], cwd=cwd, capture_output=True, text=True, env=ENV)
    assert r.returncode in (0, 1), r.stderr
    return [line for line in r.stdout.splitlines() if re.match(r'\S+:\d+:\d+:', line)]

USER = '''
from typing import assert_type
from torch import Tensor, nn
from landscape_nb.symmetries import State, Symmetries, find_symmetries, state_of
from landscape_nb.torus import Torus
from landscape_nb.paths import Path

def f(a: nn.Module, b: nn.Module, x: Tensor):
    sym = assert_type(find_symmetries(a, x), Symmetries)
    T = Torus(sym)
    p, q = T.project(state_of(a)), T.project(state_of(b))
    assert_type(T.dist(p, q), float)
    assert_type(T.angles(p, q), Tensor)
    assert_type(sym.act(sym.sample(), p), State)
'''

needs_ty = pytest.mark.skipif(not (BIN/'ty').exists(), reason='ty is not installed')

@needs_ty
@pytest.mark.parametrize('what, args', [
    ('bodies', ['--config-file', ROOT/'tools/ty.toml']),
    ('stubs', ['--ignore', 'incompatible-method-override'])])       # recipes of binary networks are others
def test_types_agree(what, args, root, tmp_path):
    run(sys.executable, root/'tools/stubs.py', tmp_path/'landscape_nb', *(['--check'] if what == 'bodies' else []))
    assert ty(sys.executable, '--error-on-warning', *args, 'landscape_nb', cwd=tmp_path) == []

@needs_ty
def test_a_wrong_type_in_a_body_is_seen(root, tmp_path):
    "A method that is added to a class is checked as one."
    run(sys.executable, root/'tools/stubs.py', tmp_path/'landscape_nb', '--check')
    at, body = tmp_path/'landscape_nb/torus.py', 'self.sym.validate(a)'
    assert body in at.read_text()
    at.write_text(at.read_text().replace(body, 'self.sym.validate(a, 3, 4, 5)', 1))
    found, = ty(sys.executable, '--config-file', root/'tools/ty.toml', 'landscape_nb/torus.py', cwd=tmp_path)
    assert 'too-many-positional-arguments' in found, found

WRONG = {'T.dist(p)': 'missing-argument', 'T.project(3)': 'invalid-argument-type', 'T.geodesic(p, q, at=.5)': 'unknown-argument',
         'sym.blok': 'missing-attribute'}

@needs_ty
def test_a_checker_knows_the_methods_that_are_added(installed, tmp_path):
    "It accepts what is right and sees every wrong call, and nothing else."
    (tmp_path/'user.py').write_text(USER + ''.join(f'    {call}\n' for call in WRONG))
    found = ty(installed[0], 'user.py', cwd=tmp_path)
    first = len(USER.splitlines())+1
    assert {int(line.split(':')[1]) for line in found} == {*range(first, first+len(WRONG))}, found
    for i, rule in enumerate(WRONG.values(), first): assert any(f':{i}:' in line and rule in line for line in found), found
