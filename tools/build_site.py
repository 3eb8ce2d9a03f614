"""The documentation site: the pages as they were committed, with their outputs, and the functions of every module.

`python tools/build_site.py FOLDER` builds it (`make docs` installs what it needs); with `--pages` only the Markdown from which it is built. Nothing is run, and nothing of the package is imported."""
import ast, base64, json, os, re, shutil, subprocess, sys, tempfile, textwrap
from graphlib import TopologicalSorter
from pathlib import Path
from posixpath import dirname, normpath, relpath

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
from stubs import Package

START = ['index', 'tour', 'reproduce']
FILES = ['CONTRIBUTING.md', 'CHANGELOG.md']
REPOSITORY = 'https://github.com/landscape-nb/landscape_nb'
HIDDEN = re.compile(r'^#\s*\|\s*hide\b', re.M)
DIRECTIVE = re.compile(r'^#\s*\|.*\n?', re.M)
MODULE = re.compile(r'^#\s*\|\s*default_exp\s+(\S+)', re.M)
LINK = re.compile(r'\]\(([^)\s#]+)')

def fenced(text, kind='text'):
    "A block of code that holds whatever is in it."
    fence = '`'*max([3, *(len(m)+1 for m in re.findall('`{3,}', text))])
    return f'{fence}{kind}\n{text.rstrip()}\n{fence}\n'

def shown(output, name, out):
    "One output of a cell; pictures become files beside the page."
    if output['output_type'] == 'stream': return fenced(''.join(output['text']), 'text title="out"')
    data = {k: ''.join(v) if isinstance(v, list) else v for k, v in output.get('data', {}).items()}
    if 'text/markdown' in data: return data['text/markdown'] + '\n'
    if 'text/html' in data: return '<div class="output" markdown="0">\n' + re.sub(r'<style.*?</style>\n?', '', data['text/html'], flags=re.S) + '\n</div>\n'
    for kind, end in (('image/png', 'png'), ('image/svg+xml', 'svg')):
        if kind in data:
            (out/f'{name}.{end}').write_bytes(base64.b64decode(data[kind]) if end == 'png' else data[kind].encode())
            return f'![{data.get("text/plain", "figure")}]({name}.{end})\n'
    return fenced(data['text/plain'], 'text title="out"') if data.get('text/plain') else ''

class Notebook:
    "One page: its path without the ending, as in '2_torus/torus', its cells, its module ('' for none)."
    def __init__(self, path):
        self.name = path.relative_to(ROOT/'nbs').with_suffix('').as_posix()
        self.cells = [(c, ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]
        self.code = [source for c, source in self.cells if c['cell_type'] == 'code']
        self.module = next((m[1] for source in self.code for m in MODULE.finditer(source)), '')

    def uses(self):
        "The modules of the package that it names where it imports."
        lines = [m[0] for source in self.code for m in re.finditer(r'^ *(from|import) .*', source, re.M)]
        direct = [k for line in lines for k in re.findall(r'\blandscape_nb\.([\w.]+)', line)]
        from_top = [k for line in lines if re.match(r' *from landscape_nb import', line) for k in re.findall(r'\w+', line)]
        return {*direct, *from_top}

def placed(path):
    "Where a file of the checkout stands in the site."
    return 'index.md' if path == 'README.md' else re.sub(r'\.ipynb$', '.md', path.removeprefix('nbs/'))

def linked(text, at):
    "The Markdown of a file `at`, its links as they hold in the site; files that the site lacks are those of the repository."
    def relink(m):
        if re.match(r'[a-z]+:|/', m[1]): return m[0]
        to = normpath(f'{dirname(at)}/{m[1]}'.lstrip('/'))
        within = to.startswith('nbs/') or to in (*FILES, 'README.md')
        if not within and (ROOT/to).exists(): return f']({REPOSITORY}/blob/main/{to}'
        return f']({relpath(placed(to), dirname(placed(at)) or ".")}'
    return LINK.sub(relink, text)

def page(nb, out):
    "The Markdown of one notebook; its pictures are written beside it."
    parts, stem = [], Path(nb.name).name
    for c, source in nb.cells:
        if c['cell_type'] == 'markdown': parts.append(linked(source, f'nbs/{nb.name}.ipynb')+'\n')
        if c['cell_type'] != 'code' or HIDDEN.search(source): continue
        exported = re.search(r'^#\s*\|\s*exports?\b', source, re.M)
        title = f'python title="landscape_nb.{nb.module}"' if exported else 'python'
        if code := DIRECTIVE.sub('', source).strip('\n'): parts.append(fenced(code, title))
        folder = (out/nb.name).parent
        parts += [shown(o, f'{stem}-{c["id"]}-{i}', folder) for i, o in enumerate(c.get('outputs', []))]
    if nb.module:
        to = relpath(f'api/{nb.module}.md', dirname(nb.name) or '.')
        parts.insert(1, f'[Functions of `landscape_nb.{nb.module}`]({to})\n')
    return '\n'.join(parts)

def head(lines, node):
    "The lines of a signature, with the comments that say what each argument is; of a class, its fields too."
    first, body = node.lineno-1, node.body[0]
    fields = [n.end_lineno for n in node.body if isinstance(n, ast.AnnAssign)] if isinstance(node, ast.ClassDef) else []
    if fields: return '\n'.join(l for l in textwrap.dedent('\n'.join(lines[first:fields[-1]])).split('\n') if l.strip() not in ('', f'"{ast.get_docstring(node)}"'))
    text = textwrap.dedent('\n'.join(lines[first:body.lineno-1] or [lines[first][:body.col_offset]])).rstrip()
    return text.removesuffix(':')

def described(m, node, name, depth):
    "One function, method or class of an API page."
    doc = ast.get_docstring(node) or ''
    return f'{"#"*depth} `{name}` {{ #{name.replace("__", "")} }}\n\n' + fenced(head(m.source.split('\n'), node), 'python') + (f'\n{doc}\n' if doc else '')

def api(package, name, notebook):
    "Every public function and class of a module, methods that other pages add among them."
    m = package.modules[name]
    top = {n.name: n for n in m.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    public = next((ast.literal_eval(n.value) for n in m.tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == '__all__'), [])
    parts = [f'# landscape_nb.{name}\n', f'> {ast.get_docstring(m.tree) or ""}\n', f'Explained, tested and pictured on [{notebook}](../{notebook}.md).\n']
    values = [k for k in public if k not in top]
    if values: parts.append('Values: ' + ', '.join(f'`{k}`' for k in values) + '\n')
    for k in (k for k in public if k in top):
        parts.append(described(m, top[k], k, 2))
        if isinstance(top[k], ast.FunctionDef): continue
        own = [(m, f) for f in top[k].body if isinstance(f, ast.FunctionDef)] + [(home, f) for home, f, _ in package.added(m, k)]
        parts += [described(home, f, f'{k}.{f.name}', 3) for home, f in own if not f.name.startswith('_') or f.name in ('__init__', '__call__')]
    return '\n'.join(parts)

def titled(folder):
    "The title of a folder: '2_torus' is '2 Torus'."
    number, _, name = folder.rpartition('_')
    return f'{number} {name.capitalize()}'.strip()

def in_order(notebooks):
    "The notebooks of one folder, none before one that it imports, else by the alphabet."
    pages = {nb.module: nb for nb in notebooks if nb.module}
    needs = {nb: {pages[k] for k in nb.uses() & pages.keys()} - {nb} for nb in notebooks}
    order, done = TopologicalSorter(needs), []
    order.prepare()
    ready = [*order.get_ready()]
    while ready:
        done.append(first := min(ready, key=lambda nb: nb.name))
        order.done(first)
        ready = [nb for nb in ready if nb is not first] + [*order.get_ready()]
    return done

def navigation(notebooks):
    "The pages at the top, a group for each folder in the order of their numbers, functions, files of the project."
    folders = {}
    for nb in notebooks: folders.setdefault(dirname(nb.name), []).append(nb)
    start = sorted((nb.name for nb in folders.pop('', [])), key=lambda n: (START.index(n) if n in START else len(START), n))
    groups = {'Start here': start}
    for folder in sorted(folders): groups[titled(folder)] = [nb.name for nb in in_order(folders[folder])]
    groups['Functions'] = [f'api/{nb.module}' for nb in sorted(notebooks, key=lambda nb: nb.module) if nb.module]
    groups['Project'] = [f.removesuffix('.md') for f in FILES]
    return [{title: [f'{n}.md' for n in names]} for title, names in groups.items()]

def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')

def write_pages(out):
    "All Markdown and pictures in `out`; returns the navigation."
    found = [p for p in sorted((ROOT/'nbs').rglob('*.ipynb')) if not {'.ipynb_checkpoints', 'results'} & {*p.relative_to(ROOT/'nbs').parts}]
    notebooks, package = [Notebook(p) for p in found], Package()
    for nb in notebooks:
        (out/nb.name).parent.mkdir(parents=True, exist_ok=True)
        write(out/f'{nb.name}.md', page(nb, out))
        if nb.module: write(out/f'api/{nb.module}.md', api(package, nb.module, nb.name))
    for f in (ROOT/'nbs').rglob('*.png'):
        to = out/f.relative_to(ROOT/'nbs')
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f, to)
    for f in FILES: write(out/f, linked((ROOT/f).read_text(encoding='utf-8'), f))
    shutil.copy(ROOT/'tools/site.css', out)
    return navigation(notebooks)

def build(out):
    "The site in `out`; a link that leads nowhere is an error."
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        config = dict(INHERIT=str(ROOT/'tools/mkdocs.yml'), docs_dir=str(tmp/'docs'), site_dir=str(Path(out).resolve()), nav=write_pages(tmp/'docs'), hooks=[str(ROOT/'tools/site_math.py')])
        (tmp/'mkdocs.yml').write_text(json.dumps(config))           # JSON is YAML
        return subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '-f', tmp/'mkdocs.yml'], env=os.environ | {'NO_MKDOCS_2_WARNING': '1'}).returncode

if __name__ == '__main__':
    if '--pages' in sys.argv[2:]: write_pages(Path(sys.argv[1]))
    else: sys.exit(build(sys.argv[1]))
