"The checkout agrees with itself: exports fresh, notebooks clean, imports in order, requirements complete."
import ast, importlib.util, re, shutil, subprocess, sys
from configparser import ConfigParser
from graphlib import TopologicalSorter
from pathlib import Path
import pytest
from pages import pages, rooms_used

BIN = Path(sys.executable).parent

def snapshot(at):
    files = [*at.glob('landscape_nb/**/*'), *at.glob('nbs/**/*.ipynb'), at/'README.md']
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

ROOMS = {p.module: p for p in pages() if p.module}
USES = {p: {r for c in p.code for r in rooms_used(c.source, ROOMS)} - {p.module} for p in pages()}

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
        if p.folder in ('', 'experiments'): assert p.module is None, f'{p.name} exports to {p.module}'
        else: assert p.module.rpartition('.')[2] in p.name, f'{p.name} exports to {p.module}'

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
    wanted = {distribution(r) for key in settings(root) if key.endswith('requirements') for r in settings(root)[key].split()}
    assert wanted <= pinned

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "The Markdown from which the site is built, and its navigation."
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
    import build_site
    out = tmp_path_factory.mktemp('site')
    return out, build_site.write_pages(out)

def test_the_site_holds_every_page(site):
    out, nav = site
    listed = [n for group in nav for names in group.values() for n in names]
    assert sorted(listed) == sorted(str(f.relative_to(out)) for f in out.glob('**/*.md')) and len(set(listed)) == len(listed)
    assert {f'{p.name}.md' for p in pages()} <= set(listed) and not any('More' in group for group in nav)

def test_links_of_the_site_lead_somewhere(site):
    out, _ = site
    for f in out.glob('**/*.md'):
        text = re.sub(r'^(```+).*?^\1$', '', f.read_text(), flags=re.S|re.M)
        for to in re.findall(r'\]\(([^)\s#]+)', text):
            assert re.match(r'https?:', to) or (f.parent/to).exists(), f'{f.name}: {to}'

def test_the_site_describes_what_is_exported(site, root):
    out, _ = site
    for room in ('torus', 'symmetries', 'evaluate'):
        text = (out/f'api/{room}.md').read_text()
        names = ast.literal_eval(re.search(r'__all__ = (\[.*?\])', (root/f'landscape_nb/{room}.py').read_text(), re.S)[1])
        assert all(f'`{n}`' in text for n in names)
    assert '## `Torus.geodesic`' in (out/'api/torus.md').read_text() and '# angles(p, q), if already known' in (out/'api/torus.md').read_text()

def test_the_look_of_the_site_fetches_nothing(root):
    assert 'font: false' in (root/'tools/mkdocs.yml').read_text() and 'offline' not in (root/'tools/mkdocs.yml').read_text()

def test_actions_are_pinned(root):
    for f in root.glob('.github/workflows/*.yml'):
        for used in re.findall(r'uses: (\S+)', f.read_text()): assert re.fullmatch(r'[\w-]+/[\w-]+@[0-9a-f]{40}', used), f'{f.name}: {used}'

def test_what_contributing_names_is_there(root):
    text = (root/'CONTRIBUTING.md').read_text()
    files = re.findall(r'`((?:tests|bench|nbs)/[\w./]+\w)`|\]\((nbs/\w+\.ipynb)\)|python (?:-m )?((?:tests|bench)/\w+\.py)', text)
    assert len(files) > 15 and all((root/next(filter(None, f))).exists() for f in files)
    source = '\n'.join(f.read_text() for f in root.glob('landscape_nb/**/*.py'))
    for name in ('ARCHS', 'FUNCTIONS', 'NotUnderstood', 'RULES', 'recipe_for', 'all_claims', 'Claim', 'Recipe'):
        assert f'`{name}`' in text and re.search(rf'^(class |def )?{name}\b', source, re.M), name

def test_the_citation_is_of_this_version(root):
    yaml = pytest.importorskip('yaml')
    cite = yaml.safe_load((root/'CITATION.cff').read_text())
    assert cite['version'] == settings(root)['version'] and cite['license'] == settings(root)['license'] and cite['repository-code'] == 'https://github.com/{user}/{repo}'.format(**settings(root))
    assert cite['references'][0]['identifiers'][0]['value'] in ('arXiv:2202.03038',) and len(cite['references'][0]['authors']) == 6

def test_forms_of_issues_can_be_read(root):
    yaml = pytest.importorskip('yaml')
    forms = {f.stem: yaml.safe_load(f.read_text()) for f in root.glob('.github/ISSUE_TEMPLATE/*.yml')}
    assert {'bug', 'unsupported_network', 'question'} <= forms.keys()
    for name, form in forms.items():
        if name != 'config': assert {'name', 'description', 'body'} <= form.keys() and all(part['type'] == 'textarea' for part in form['body'])

@pytest.mark.skipif(importlib.util.find_spec('mkdocs') is None, reason='mkdocs is not installed (make docs installs it)')
def test_a_dead_link_stops_the_site(root, tmp_path):
    for name in ('nbs', 'tools', 'landscape_nb'): shutil.copytree(root/name, tmp_path/name)
    page = tmp_path/'nbs/tour.ipynb'
    assert page.read_text().count('(6_landscape/flatness.ipynb)') == 1
    page.write_text(page.read_text().replace('(6_landscape/flatness.ipynb)', '(flat.ipynb)'))
    r = subprocess.run([sys.executable, tmp_path/'tools/build_site.py', tmp_path/'_site'], capture_output=True, text=True)
    assert r.returncode and 'flat.md' in r.stderr
