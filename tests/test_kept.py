"Alignment, paths, flatness and claims give what they gave: numbers written down by tests/kept/record.py before the house was cleared."
import csv, json, sys
from pathlib import Path
import pytest

KEPT = Path(__file__).parent/'kept'
NUMBERS = json.loads((KEPT/'numbers.json').read_text())
ONE_IMAGE = 1/900

def compare(part, close):
    sys.path.insert(0, str(KEPT))
    from record import PARTS
    found = PARTS[part]()
    assert found.keys() == NUMBERS[part].keys()
    wrong = {k: (o['value'], NUMBERS[part][k]['value']) for k, o in found.items() if not close(k, o['value'], NUMBERS[part][k]['value'])}
    assert not wrong

def same_objective(k, a, b): return abs(a-b) <= 1e-6*abs(b)

def same_error(k, a, b): return abs(a-b) <= (1e-4*b if k.startswith('distance') else 1.001*ONE_IMAGE)

def test_alignment_reaches_what_it_reached(): compare('alignment', same_objective)

@pytest.mark.long
def test_alignment_of_large_networks_reaches_what_it_reached(): compare('large', same_objective)

def test_barriers_energies_and_distances_are_what_they_were(): compare('landscape', same_error)

def test_claims_of_kept_tables_are_what_they_were():
    from landscape_nb.report import claims_table, read_table
    from landscape_nb.studies.intervals import check_frames
    frames = {f.stem: read_table(f) for f in (KEPT/'smoke').glob('*.csv') if f.stem != 'claims'}
    found = claims_table(check_frames(frames)).set_index('id')
    with open(KEPT/'smoke/claims.csv', newline='') as h: wanted = {r['id']: r for r in csv.DictReader(h)}
    assert set(found.index) == wanted.keys()
    for k, r in wanted.items():
        assert found.verdict[k] == r['verdict'], k
        for column in ('estimate', 'lo', 'hi'):
            if r[column]: assert found[column][k] == pytest.approx(float(r[column]), rel=1e-9, abs=1e-12), (k, column)
