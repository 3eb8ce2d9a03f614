"HTML pages of the notebooks, as they stand, in the folder named as argument."
import re, shutil, sys, nbformat
from pathlib import Path
from nbconvert import HTMLExporter

ROOT = Path(__file__).resolve().parent.parent
pages = sorted((ROOT/'nbs').glob('*.ipynb'), key=lambda p: (p.stem != 'index', p.stem))
out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for folder, kind in (('images', '*'), ('results', '*.png')):
    for f in (ROOT/'nbs'/folder).glob(kind):
        (out/folder).mkdir(exist_ok=True)
        shutil.copy(f, out/folder)

bar = ' · '.join(f'<a href="{p.stem}.html">{p.stem}</a>' for p in pages)
hidden = re.compile(r'^#\s*\|\s*hide\b', re.M)
for p in pages:
    nb = nbformat.read(p, 4)
    nb.cells = [c for c in nb.cells if c.cell_type != 'raw' and not hidden.search(c.source)]
    for c in nb.cells:
        if c.cell_type == 'markdown': c.source = re.sub(r'\]\(([\w-]+)\.ipynb', r'](\1.html', c.source)
    html, _ = HTMLExporter().from_notebook_node(nb, resources={'metadata': {'name': p.stem}})
    html = re.sub(r'<body[^>]*>', lambda m: f'{m[0]}\n<nav style="padding:1em 2em;font-family:sans-serif">{bar}</nav>', html, count=1)
    (out/f'{p.stem}.html').write_text(html, encoding='utf-8')
