"The checkout agrees with itself: exports fresh, notebooks clean, imports in order, requirements complete."
import ast, importlib.util, json, re, shutil, subprocess, sys
from configparser import ConfigParser
from graphlib import TopologicalSorter
from pathlib import Path
import pytest
from pages import pages, rooms_used

BIN = Path(sys.executable).parent

def snapshot(at):
    files = [*at.glob('landscape_nb/**/*'), *at.glob('nbs/**/*.ipynb'), at/'README.md']
    return {str(f.relative_to(at)): f.read_bytes() for f in files if f.is_file() and '__pycache__' not in f.parts}

@pytest.fixture(scope='session')
def remade(once, root):
    "A copy of the checkout, its package, notebooks and README made again from the notebooks."
    left = shutil.ignore_patterns('.git', '.venv', 'out', 'data', '_site', 'build', 'landscape_nb', '__pycache__')
    def make(at):
        shutil.copytree(root, at/'landscape_nb', ignore=left)
        for cmd in [BIN/'nbdev_export'], [BIN/'nbdev_clean'], [sys.executable, 'tools/sync_readme.py']:
            r = subprocess.run(cmd, cwd=at/'landscape_nb', capture_output=True, text=True)
            assert r.returncode == 0, r.stdout + r.stderr
    return snapshot(once('remade', make)/'landscape_nb')

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

PAGES = pages()
ROOMS = {p.module: p for p in PAGES if p.module}
USES = {p: {r for c in p.code for r in rooms_used(c.source, ROOMS)} - {p.module} for p in PAGES}

def floor(page):
    "The number of a folder; folders without one, and the pages at the top, may use every numbered one."
    return int(page.folder.partition('_')[0]) if page.folder[:1].isdigit() else 99

def test_imports_only_go_up_the_list_of_folders():
    wrong = [f'{p.folder}/{p.name} imports {r}' for p, used in USES.items() for r in sorted(used) if floor(ROOMS[r]) > floor(p)]
    assert not wrong, f'{wrong}: a page uses only rooms of its own folder and of folders above it'

def test_no_room_is_imported_in_a_circle():
    graph = {p.module: used for p, used in USES.items() if p.module}
    assert [*TopologicalSorter(graph).static_order()]      # CycleError names the circle

@pytest.mark.parametrize('source, rooms', [
    ('from landscape_nb.torus import Torus', ['torus']), ('import landscape_nb.torus as t', ['torus']), ('from landscape_nb import torus', ['torus']),
    ('from landscape_nb.search.group import State', ['search.group']), ('from .search import group', ['search.group']),
    ('from .torus import Torus', ['torus']), ('from . import torus', ['torus']), ('%matplotlib inline\nimport torch', [])])
def test_an_import_is_seen_however_it_is_written(source, rooms): assert list(rooms_used(source, ROOMS)) == rooms

def test_a_page_bears_the_name_of_its_room():
    for p in pages():
        if p.folder in ('', 'experiments') or p.name == 'conclusions': assert p.module is None, f'{p.name} exports to {p.module}'
        else: assert p.module.rpartition('.')[2] in p.name, f'{p.name} exports to {p.module}'

def test_only_reproduce_has_parameters():
    tagged = {p.name: sum('parameters' in c.metadata.get('tags', []) for c in p.nb.cells) for p in pages()}
    assert {k: v for k, v in tagged.items() if v} == {'reproduce': 1}

def test_parameters_are_those_of_the_contract():
    page, = [p for p in pages() if p.name == 'reproduce']
    cell, = [c for c in page.code if 'parameters' in c.metadata.get('tags', [])]
    names = [t.id for n in ast.parse(cell.source).body for t in n.targets]
    assert names == 'arch dataset algorithms seeds preset width n_train sigmas device out jobs scheduler'.split()

LIGHT = '''
import sys
for room in 'symmetries torus alignment evaluate'.split():
    __import__(f'landscape_nb.{room}')
    found = {"torchvision", "pandas", "matplotlib", "sklearn", "nbdev", "IPython"} & set(sys.modules)
    if found: sys.exit(f'{room} imports {", ".join(sorted(found))}')
'''

def test_rooms_that_compute_import_lightly(root):
    r = subprocess.run([sys.executable, '-c', LIGHT], cwd=root, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr

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
    named = {{'sklearn': 'scikit-learn'}.get(u, u) for u in used}
    assert named <= {distribution(r) for key in ('requirements', 'cluster_requirements') for r in settings(root)[key].split()}

def test_every_requirement_is_pinned(root):
    pinned = {distribution(line) for line in (root/'constraints.txt').read_text().splitlines()}
    wanted = {distribution(r) for key in settings(root) if key.endswith('requirements') for r in settings(root)[key].split()}
    assert wanted <= pinned

@pytest.fixture(scope='module')
def site(tmp_path_factory, root):
    "The Markdown from which the site is built, and its navigation: {group: pages}."
    sys.path.insert(0, str(root/'tools'))
    import build_site
    out = tmp_path_factory.mktemp('site')
    return out, {title: names for group in build_site.write_pages(out) for title, names in group.items()}

def test_the_site_holds_every_page(site):
    out, nav = site
    listed = [n for names in nav.values() for n in names]
    assert sorted(listed) == sorted(str(f.relative_to(out)) for f in out.rglob('*.md')) and len(set(listed)) == len(listed)
    assert {f'{p.folder}/{p.name}.md'.lstrip('/') for p in pages()} <= set(listed)

def test_the_site_is_in_the_order_of_the_folders(site):
    "The pages at the top first, folders by number and then by name; inside a folder no page before one that it imports."
    _, nav = site
    titles = [*nav]
    numbered = [t for t in titles if t[0].isdigit()]
    assert titles[0] == 'Start here' and nav['Start here'][0] == 'index.md' and titles[-2:] == ['Functions', 'Project']
    assert titles[1:1+len(numbered)] == numbered == sorted(numbered) and len(numbered) == 10
    order = [name for names in nav.values() for name in names]
    at = {p: order.index(f'{p.folder}/{p.name}.md'.lstrip('/')) for p in PAGES}
    wrong = [(q.name, p.name) for p in PAGES for q in map(ROOMS.get, USES[p]) if q.folder == p.folder and at[q] > at[p]]
    assert not wrong

def test_links_of_the_site_lead_somewhere(site):
    out, _ = site
    for f in out.rglob('*.md'):
        text = re.sub(r'^(```+).*?^\1$', '', f.read_text(), flags=re.S|re.M)
        for to in re.findall(r'\]\(([^)\s#]+)', text):
            assert re.match(r'https?:', to) or (f.parent/to).exists(), f'{f.relative_to(out)}: {to}'

def test_the_site_describes_what_is_exported(site, root):
    out, _ = site
    for room in ('torus', 'search.group', 'evaluate'):
        text = (out/f'api/{room}.md').read_text()
        source = (root/f'landscape_nb/{room.replace(".", "/")}.py').read_text()
        names = ast.literal_eval(re.search(r'__all__ = (\[.*?\])', source, re.S)[1])
        assert all(f'`{n}`' in text for n in names)
    text = (out/'api/torus.md').read_text()
    assert '## `Torus.geodesic`' in text and '](../2_torus/torus.md)' in text

def test_what_contributing_names_is_there(root):
    text = (root/'CONTRIBUTING.md').read_text()
    files = re.findall(r'`((?:tests|bench|nbs)/[\w./]+\w)`|\]\((nbs/[\w/]+\.ipynb)\)|python (?:-m )?((?:tests|bench)/\w+\.py)', text)
    assert len(files) > 15
    for f in files: assert (root/next(filter(None, f))).exists(), f
    source = '\n'.join(f.read_text() for f in root.glob('landscape_nb/**/*.py'))
    for name in ('ARCHS', 'FUNCTIONS', 'NotUnderstood', 'RULES', 'recipe_for', 'all_claims', 'Claim', 'Recipe'):
        assert f'`{name}`' in text and re.search(rf'^(class |def )?{name}\b', source, re.M), name

@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec('mkdocs') is None, reason='mkdocs is not installed (make docs installs it)')
def test_a_dead_link_stops_the_site(root, tmp_path):
    for name in ('nbs', 'tools', 'landscape_nb'): shutil.copytree(root/name, tmp_path/name)
    for name in ('CONTRIBUTING.md', 'CHANGELOG.md'): shutil.copy(root/name, tmp_path)
    page = tmp_path/'nbs/2_torus/torus.ipynb'
    nb = json.loads(page.read_text())
    nb['cells'].append(dict(cell_type='markdown', id='dead', metadata={}, source='[nowhere](flat.ipynb)'))
    page.write_text(json.dumps(nb))
    r = subprocess.run([sys.executable, tmp_path/'tools/build_site.py', tmp_path/'_site'], capture_output=True, text=True)
    assert r.returncode and 'flat.md' in r.stderr
