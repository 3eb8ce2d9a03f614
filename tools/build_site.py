"""The documentation site: the pages as they were committed, with their outputs, and the functions of every module.

`python tools/build_site.py FOLDER` builds it (`make docs` installs what it needs); with `--pages` only the Markdown from which it is built. Nothing is run, and nothing of the package is imported."""
import ast, base64, json, os, re, shutil, subprocess, sys, tempfile, textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))
from stubs import Package

GROUPS = [('Start here', r'index|tour|reproduce'), ('Ground', r'0[01]|02_'), ('Symmetries', r'02[a-z]_|03'), ('Torus and alignment', r'04|05'), ('Evaluation and training', r'06|07'),
          ('Flatness and paths', r'08|09'), ('Binary networks', r'10'), ('Theory', r'11_|11[d-f]'), ('Study and report', r'1[1-9]'), ('More', r'')]
FILES = ['CONTRIBUTING', 'CHANGELOG']
HIDDEN = re.compile(r'^#\s*\|\s*hide\b', re.M)
DIRECTIVE = re.compile(r'^#\s*\|.*\n?', re.M)

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

def linked(text):
    "Links between pages, and to files at the top: to Markdown."
    return re.sub(r'\]\((\w+)\.ipynb', r'](\1.md', re.sub(r'\]\(\.\./(\w+\.md)', r'](\1', text))

def page(path, out):
    "The Markdown of one notebook."
    parts, module = [], ''
    for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(c['source'])
        if c['cell_type'] == 'markdown': parts.append(linked(source)+'\n')
        if c['cell_type'] != 'code': continue
        if m := re.search(r'^#\s*\|\s*default_exp\s+(\S+)', source, re.M): module = m[1]
        if HIDDEN.search(source): continue
        title = f'python title="landscape_nb.{module}"' if re.search(r'^#\s*\|\s*exports?\b', source, re.M) else 'python'
        if code := DIRECTIVE.sub('', source).strip('\n'): parts.append(fenced(code, title))
        parts += [shown(o, f'{path.stem}-{c["id"]}-{i}', out) for i, o in enumerate(c.get('outputs', []))]
    if module: parts.insert(1, f'[Functions of `landscape_nb.{module}`](api/{module}.md)\n')
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
        own = [(m, f) for f in top[k].body if isinstance(f, ast.FunctionDef)] + [(home, f) for home, f, _ in package.added[name, k]]
        parts += [described(home, f, f'{k}.{f.name}', 3) for home, f in own if not f.name.startswith('_') or f.name in ('__init__', '__call__')]
    return '\n'.join(parts)

def navigation(names, modules):
    "Groups of pages; each page in the first group that it fits."
    groups = {title: [] for title, _ in GROUPS}
    for n in names: groups[next(title for title, fits in GROUPS if re.match(fits, n))].append(f'{n}.md')
    order = ['index.md', 'tour.md', 'reproduce.md']
    groups['Start here'].sort(key=lambda n: (order.index(n) if n in order else len(order), n))
    return [{k: v} for k, v in groups.items() if v] + [{'Functions': [f'api/{m}.md' for m in sorted(modules)]}, {'Project': [f'{f}.md' for f in FILES if (ROOT/f'{f}.md').exists()]}]

def write_pages(out):
    "All Markdown and pictures in `out`; returns the navigation."
    (out/'api').mkdir(parents=True, exist_ok=True)
    notebooks = sorted((ROOT/'nbs').glob('*.ipynb'))
    package, exports = Package(), {}
    for p in notebooks:
        (out/f'{p.stem}.md').write_text(page(p, out), encoding='utf-8')
        if m := re.search(r'#\s*\|\s*default_exp\s+([\w.]+)', p.read_text(encoding='utf-8')): exports[m[1].split('\\')[0]] = p.stem
    for module, notebook in exports.items(): (out/f'api/{module}.md').write_text(api(package, module, notebook), encoding='utf-8')
    for folder in ('results', 'images'):
        for f in (ROOT/'nbs'/folder).glob('**/*.png'):
            (to := out/f.relative_to(ROOT/'nbs')).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(f, to)
    for f in FILES:
        if (ROOT/f'{f}.md').exists():
            text = (ROOT/f'{f}.md').read_text(encoding='utf-8')
            (out/f'{f}.md').write_text(re.sub(r'\]\(nbs/(\w+)\.ipynb', r'](\1.md', text.replace('](README.md', '](index.md')), encoding='utf-8')
    shutil.copy(ROOT/'tools/site.css', out)
    return navigation([p.stem for p in notebooks], exports)

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
