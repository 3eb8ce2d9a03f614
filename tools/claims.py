"""`make claims`: the claims of every kept run again, from its tables, without training anything.

`python tools/claims.py [FOLDER …]`: each FOLDER holds claims.csv, environment.json and tables/; without one, every run in nbs/results.
A file whose numbers are the same is the same byte for byte. Runs without tables are named and left as they are."""
import sys
from pathlib import Path
from landscape_nb.report import claims_again, csv_bytes, write_atomic

ROOT = Path(__file__).resolve().parent.parent

def again(folder):
    "Write the claims of one run anew; what happened, in a word."
    file = folder/'claims.csv'
    try: data = csv_bytes(claims_again(folder))
    except FileNotFoundError: return 'no tables'
    if file.exists() and file.read_bytes() == data: return 'the same'
    write_atomic(file, data)
    return 'written'

def main(names):
    "All runs, one line each."
    folders = [Path(n) for n in names] or sorted(p.parent for p in (ROOT/'nbs/results').glob('*/claims.csv'))
    for folder in folders: print(f'{folder.name}: {again(folder)}', flush=True)

if __name__ == '__main__': main(sys.argv[1:])
