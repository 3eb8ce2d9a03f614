"The checkout agrees with itself: exports fresh, notebooks clean, imports in order, requirements complete."
import ast, re, shutil, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import pytest
from pages import ANYTHING, pages, rooms_used

BIN = Path(sys.executable).parent

def snapshot(at):
    files = [*at.glob('landscape_nb/**/*'), *at.glob('nbs/*.ipynb'), at/'README.md']
    return {str(f.relative_to(at)): f.read_bytes() for f in files if f.is_file() and '__pycache__' not in f.parts}

@pytest.fixture(scope='module')
def remade(tmp_path_factory):
    "A copy of the checkout, its package, notebooks and README made again from the notebooks."
    root, copy = Path(__file__).resolve().parent.parent, tmp_path_factory.mktemp('tree')/'landscape_nb'
    keep = [p for p in root.iterdir() if p.name not in ('.git', '.venv', 'out', 'data', '_site', 'landscape_nb')]
    copy.mkdir()
    for p in keep: (shutil.copytree if p.is_dir() else shutil.copy)(p, copy/p.name)
    for cmd in [BIN/'nbdev_export'], [BIN/'nbdev_clean'], [sys.executable, 'tools/sync_readme.py']:
        r = subprocess.run(cmd, cwd=copy, capture_output=True, text=True)
        assert r.returncode == 0, r.stdout + r.stderr
    return snapshot(copy)

def test_exports_are_fresh(root, remade):
    now = {k: v for k, v in snapshot(root).items() if k.startswith('landscape_nb/')}
    new = {k: v for k, v in remade.items() if k.startswith('landscape_nb/')}
    assert sorted(now) == sorted(new), 'a module has no notebook, or a notebook no module: run `make export` (and remove what no notebook writes)'
    stale = [k for k in now if now[k] != new[k]]
    assert not stale, f'stale: {stale}; edit the notebook, then run `make export`'

def test_notebooks_are_clean(root, remade):
    now = snapshot(root)
    dirty = [k for k in now if k.endswith('.ipynb') and now[k] != remade[k]]
    assert not dirty, f'not clean: {dirty}; run `make export`'

def test_readme_is_the_index_page(root, remade):
    assert (root/'README.md').read_bytes() == remade['README.md'], 'README.md is stale: edit nbs/index.ipynb, then run `make export`'

def test_imports_only_go_up_the_list():
    numbered = [p for p in pages() if p.name not in ANYTHING]
    above, wrong = set(), []
    for page in numbered:
        used = {room for c in page.code for room in rooms_used(c.source)}
        wrong += [f'{page.name} imports {room}' for room in sorted(used - above)]
        above.add(page.module)
    assert not wrong, f'{wrong}: a page uses only rooms of pages above it'

@pytest.mark.parametrize('source, rooms', [
    ('from landscape_nb.torus import Torus', ['torus']), ('import landscape_nb.torus as t', ['torus']), ('from landscape_nb import torus', ['torus']),
    ('from .torus import Torus', ['torus']), ('from . import torus', ['torus']), ('%matplotlib inline\nimport torch', [])])
def test_an_import_is_seen_however_it_is_written(source, rooms): assert list(rooms_used(source)) == rooms

def test_every_page_names_its_room():
    for p in pages():
        if p.name not in ANYTHING: assert p.module == re.sub(r'^\d+[a-z]?_', '', p.name), f'{p.name} exports to {p.module}'

def test_only_reproduce_has_parameters():
    tagged = {p.name: sum('parameters' in c.metadata.get('tags', []) for c in p.nb.cells) for p in pages()}
    assert {k: v for k, v in tagged.items() if v} == {'reproduce': 1}

def test_parameters_are_those_of_the_contract():
    page, = [p for p in pages() if p.name == 'reproduce']
    cell, = [c for c in page.code if 'parameters' in c.metadata.get('tags', [])]
    names = [t.id for n in ast.parse(cell.source).body for t in n.targets]
    assert names == 'arch dataset algorithms seeds preset width n_train device out jobs scheduler'.split()

@pytest.mark.parametrize('room', ['symmetries', 'torus', 'alignment', 'evaluate'])
def test_a_room_that_computes_imports_lightly(room, root):
    say = (f'import sys; import landscape_nb.{room}; '
           'print(*sorted({"torchvision", "pandas", "matplotlib", "sklearn", "nbdev", "IPython"} & set(sys.modules)))')
    r = subprocess.run([sys.executable, '-c', say], cwd=root, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert r.stdout.split() == []

def settings(root):
    ini = ConfigParser(delimiters=['='])
    ini.read(root/'settings.ini')
    return ini['DEFAULT']

def distribution(requirement): return re.split(r'[<>=!~\[]', requirement)[0].lower().replace('_', '-')

def test_every_import_of_the_package_is_required(root):
    used = set()
    for f in root.glob('landscape_nb/**/*.py'):
        for n in ast.walk(ast.parse(f.read_text())):
            if isinstance(n, ast.Import): used |= {a.name.split('.')[0] for a in n.names}
            elif isinstance(n, ast.ImportFrom) and not n.level: used.add(n.module.split('.')[0])
    used -= sys.stdlib_module_names | {'landscape_nb'}
    named = {{'sklearn': 'scikit-learn', 'curvlinops': 'curvlinops-for-pytorch'}.get(u, u) for u in used}
    assert named <= {distribution(r) for key in ('requirements', 'cluster_requirements') for r in settings(root)[key].split()}

def test_every_requirement_is_pinned(root):
    pinned = {distribution(line) for line in (root/'constraints.txt').read_text().splitlines()}
    wanted = {distribution(r) for key in ('requirements', 'dev_requirements', 'cluster_requirements') for r in settings(root)[key].split()}
    assert wanted <= pinned

def test_the_site_holds_every_page(root, tmp_path):
    r = subprocess.run([sys.executable, root/'tools/build_site.py', tmp_path], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert {p.stem for p in tmp_path.glob('*.html')} == {p.name for p in pages()}
    for page in tmp_path.glob('*.html'):
        links = re.findall(r'href="([\w-]+\.(?:html|ipynb))"', page.read_text())
        assert links and all((tmp_path/to).exists() for to in links), page.name
