"A study whose truth is known goes from its tables to verdicts, to files and back."
import json, sys
import numpy as np, pandas as pd, pytest
from landscape_nb.report import COLUMNS, claims_again, claims_table, csv_bytes, read_table, save_report
from landscape_nb.studies.claims import MAIN, SHARP, barrier_matrix, made_study
from landscape_nb.studies.overall import Run, answers_markdown, headline
from landscape_nb.studies.verdicts import OUTCOMES
from pages import ROOT

sys.path.insert(0, str(ROOT/'tools'))

def judged(frames, *args, **how): return claims_table(frames, *args, **how).set_index('id', drop=False)

@pytest.fixture(scope='module')
def plain(): return judged(made_study())

def test_an_effect_that_is_there_holds_and_the_reverse_does_not(plain):
    for id in 'flatness-rsgd flatness-adv distance-rsgd distance-adv barrier-rsgd barrier-adv removal-sgd permutation-adv bend-sgd null-rsgd'.split():
        assert plain.verdict[id] == 'holds', plain.loc[id]
    turned = judged(made_study(sharp={**SHARP, 'rsgd': 3., 'adv': .5}))
    for id in 'flatness-rsgd flatness-adv distance-rsgd distance-adv barrier-rsgd barrier-adv'.split():
        assert turned.verdict[id] == 'does not hold', turned.loc[id]

def test_no_effect_measured_precisely_is_equivalent(plain):
    assert plain.verdict['normalisation-sgd'] == 'equivalent' and abs(plain.estimate['normalisation-sgd']) < plain.margin['normalisation-sgd']
    alike = judged(made_study(sharp=SHARP | {'rsgd': 1.}, spread=.005, noise=.001))
    assert alike.verdict['distance-rsgd'] == alike.verdict['barrier-rsgd'] == 'equivalent'
    assert alike.explained['barrier-rsgd'] == ''           # an effect that is not there is explained by nothing

def test_noise_leaves_a_claim_undecided_and_says_what_would_decide_it():
    noisy = judged(made_study(spread=.9, noise=.2, seeds=range(5)))
    for id in ('distance-rsgd', 'barrier-rsgd'):
        assert noisy.verdict[id] == 'undecided'
        assert 'networks of a class' in noisy.note[id]

def test_a_barrier_at_chance_is_saturated():
    frames = made_study()
    full = frames['barriers'].assign(value=lambda f: .88 + .002*np.sin(np.arange(len(f))))
    got = judged(frames | dict(barriers=full))
    assert got.verdict[['barrier-adv', 'barrier-rsgd']].eq('saturated').all()
    many = judged(frames | dict(barriers=full), dataset='cifar100')
    assert 'saturated' not in set(many.verdict[['barrier-adv', 'barrier-rsgd']])       # chance is .99 there
    ends = judged(frames | dict(barriers=full.assign(value=full.value - .2, end=.25)))
    assert ends.verdict['barrier-adv'] == 'saturated'

def test_a_bend_that_is_not_found_refutes_nothing():
    frames = made_study()
    never = judged(frames | dict(bends=frames['bends'].assign(worst=.4)))
    few = frames['bends'].groupby(['label_a', 'removal', 'steps']).head(1)
    for got in (never, judged(frames | dict(bends=few))):
        assert set(got.verdict[[f'bend-{l}' for l in MAIN]]) == {'undecided'}
    assert '0 of 45 pairs joined by step 3200' in never.note['bend-sgd'] and 'worst error 0.4' in never.note['bend-sgd']

def test_a_control_explains_only_what_it_shows(plain):
    words = plain.explained['barrier-rsgd']
    assert 'sgd-init explains' in words and 'sgd-wd explains' in words and 'sgd-long' not in words
    other = judged(made_study(sharp=SHARP | {'sgd-init': .95, 'sgd-wd': 1.2}))
    assert other.verdict['barrier-rsgd'] == 'holds' and other.explained['barrier-rsgd'] == ''
    noisy = judged(made_study(spread=.9))
    assert not any(noisy.explained[noisy.verdict != 'holds'])

def test_a_correlation_is_one_within_classes():
    frames = made_study()
    gen = np.random.default_rng(0)
    apart = frames['minima'].label.map(SHARP)
    by_class = judged(frames | dict(minima=frames['minima'].assign(test_error=apart + .01*gen.random(len(apart)))))
    assert by_class.verdict['flatness-generalisation'] != 'holds'
    assert judged(frames).verdict['flatness-generalisation'] == 'holds'

def test_losses_that_differ_are_not_matched(plain):
    assert plain.verdict['matched-loss'] == 'holds'
    frames = made_study()
    other = frames['minima'].assign(train_loss=lambda f: f.train_loss*f.label.map(SHARP))
    assert judged(frames | dict(minima=other)).verdict['matched-loss'] == 'does not hold'

def test_barriers_across_classes(plain):
    assert plain.verdict[['across-rsgd-sgd', 'star-rsgd-sgd', 'star-rsgd-adv']].eq('holds').all()
    frames = made_study()
    b = frames['barriers']
    walls = b.assign(value=b.value + .2*(b.label_a != b.label_b))
    apart = judged(frames | dict(barriers=walls))
    assert apart.verdict[['across-rsgd-sgd', 'star-rsgd-sgd']].eq('does not hold').all()
    assert barrier_matrix(walls).loc['sgd', 'rsgd'] == pytest.approx(barrier_matrix(b).loc['sgd', 'rsgd'] + .2)

def test_theory_is_counted_in_signs_where_margins_were_measured(plain):
    assert plain.verdict[plain.group == 'theory'].eq('undecided').all()
    frames = made_study(spread=.2)
    sharp = frames['flatness'].query('sigma == .5').set_index(['label', 'seed']).energy
    index = pd.MultiIndex.from_frame(frames['minima'][['label', 'seed']])
    margins = frames['minima'].assign(margin=1 - sharp.reindex(index).to_numpy())
    signs = judged(frames | dict(minima=margins))
    agree = signs[signs.group == 'theory']
    assert (agree.verdict == 'holds').sum() >= 5 and not (agree.verdict == 'does not hold').any()

def test_frames_may_lack_what_is_new(plain):
    frames = made_study()
    old = judged(frames | dict(barriers=frames['barriers'].drop(columns=['end', 'test'])))
    assert old.verdict['test-rsgd'] == 'undecided' and old.note['test-rsgd']
    assert old.verdict['barrier-rsgd'] == plain.verdict['barrier-rsgd']
    inner = frames['barriers'].query('label_a == label_b')
    assert judged(frames | dict(barriers=inner)).verdict['across-rsgd-sgd'] == 'undecided'

def test_more_networks_have_their_own_level():
    few, look = made_study(seeds=range(9), spread=.5, noise=.02), made_study(seeds=range(10), spread=.5, noise=.02)
    late = judged(look)
    first = late[(late.verdict == 'undecided') & (late.q < .05)]
    assert len(first) and not ((judged(few).q <= .05) & (judged(few).verdict == 'undecided') & judged(few).df.notna()).any()

def test_rows_in_another_order_give_the_same_claims(plain):
    frames = {k: f.sample(frac=1, random_state=1) for k, f in made_study().items()}
    again = judged(frames)
    assert list(again.verdict) == list(plain.verdict)
    assert again.estimate.to_numpy(float) == pytest.approx(plain.estimate.to_numpy(float), rel=1e-9, abs=1e-12, nan_ok=True)

def test_the_table_is_tidy(plain):
    assert list(plain) == COLUMNS and plain.id.is_unique and set(plain.verdict) <= set(OUTCOMES)
    tested = plain[plain.p.notna()]
    assert (tested.q >= tested.p - 1e-12).all() and tested.family.ne('').all()
    assert plain[plain.group == 'paper'].place.ne('').all()

def kept_run(folder, frames, arch='mlp'):
    claims = claims_table(frames, arch, 'digits')
    return save_report(folder, frames, {}, claims, dict(parameters=dict(arch=arch, dataset='digits', preset='smoke')))

@pytest.mark.parametrize('arch', ['mlp', 'binary_mlp'])
def test_claims_of_a_kept_run_are_made_again_to_the_byte(tmp_path, arch):
    import claims
    out = kept_run(tmp_path/'run', made_study(seeds=range(4)), arch)
    before = (out/'claims.csv').read_bytes()
    assert csv_bytes(claims_again(out)) == before and claims.again(out) == 'the same'
    table = read_table(out/'claims.csv')
    (out/'claims.csv').write_bytes(csv_bytes(table.assign(estimate=0.)))
    assert claims.again(out) == 'written' and (out/'claims.csv').read_bytes() == before

def test_claims_are_made_again_from_packed_tables(tmp_path, capsys):
    import claims, reproduce
    out = kept_run(tmp_path/'run', made_study(seeds=range(3)))
    for f in (out/'tables').glob('*.csv'):
        f.with_name(f'{f.name}.gz').write_bytes(reproduce.packed(f.read_bytes()))
        f.unlink()
    bare = tmp_path/'bare'
    bare.mkdir()
    claims.main([str(out), str(bare)])
    assert capsys.readouterr().out == 'run: the same\nbare: no tables\n'

def test_many_runs_are_one_answer(plain):
    run = Run('mlp', 'made', plain)
    table = answers_markdown([run, run]).splitlines()
    assert all(line.count('|') == table[0].count('|') for line in table) and '✓' in table[2]
    counts = [int(w) for w in headline([run, run]).split(': ')[1].split(' of ')[0].split(' / ')]
    assert sum(counts) == 2*(plain.group == 'paper').sum()
