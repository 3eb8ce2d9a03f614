"Effects and verdicts: every fault that was once found in the statistics, as a number that would show it again."
import math
import numpy as np, pandas as pd, pytest
from scipy import stats
from landscape_nb.studies.effects import (Effect, difference, explained, is_explained, of_means, of_networks, of_pairs, over_classes,
    pooled, sigma_star, within)
from landscape_nb.studies.intervals import PAIR, jackknife, t_interval
from landscape_nb.studies.verdicts import (LOOKS, MARGINS, agreement, claim_row, decide, effective_pairs, found, is_equivalent, is_saturated,
    level_at, levels, needed, next_look, power, q_values, share_interval, survival, worst_order)

def pair_table(n, value, label='sgd', ring=False):
    chosen = [(i, (i+1)%n) for i in range(n)] if ring else [(i, j) for i in range(n) for j in range(i)]
    return pd.DataFrame([(label, i, label, j, value(i, j)) for i, j in chosen], columns=[*PAIR, 'value'])

def inside(interval, truth): return interval.lo<=truth<=interval.hi

@pytest.mark.parametrize('n, was', [(3, .84), (5, .48), (8, .24)])
def test_means_of_the_others_cover_only_when_they_are_built_again(n, was):
    gen = np.random.default_rng(n)
    faulty, mended, runs = 0, 0, 1500
    for k in range(runs):
        a = gen.standard_normal(n)
        rows = (a.sum() - a)/(n-1)
        faulty += inside(t_interval(rows.mean(), [np.delete(rows, s).mean() for s in range(n)]), 0.)
        mended += inside(t_interval(rows.mean(), [np.delete(a, s).mean() for s in range(n)]), 0.)
    assert faulty/runs == pytest.approx(was, abs=.03)
    assert .93 < mended/runs < .97
    means = pd.DataFrame(dict(label='sgd', seed=range(n), error=rows))
    again = pd.DataFrame([('sgd', s, i, np.delete(a, [s, i]).mean()) for s in range(n) for i in range(n) if i!=s],
                         columns=['label', 'left_out', 'seed', 'error'])
    assert of_means(means, again, 'error', 'sgd').interval() == pytest.approx(t_interval(a.mean(), [np.delete(a, s).mean() for s in range(n)]))

def test_a_control_explains_only_what_its_lower_bound_says():
    gen = np.random.default_rng(0)
    def table(spread): return pd.DataFrame([(l, s, m + spread*gen.standard_normal()) for l, m in dict(sgd=.1, rsgd=.06, long=.065, wd=.098).items()
                                            for s in range(10)], columns=['label', 'seed', 'energy'])
    of = lambda label: dict(column='energy', label=label)
    near, noisy = table(.004), table(.1)
    assert is_explained(explained(near, of('sgd'), of('rsgd'), of('long')))
    assert not is_explained(explained(near, of('sgd'), of('rsgd'), of('wd')))
    for control in ('long', 'wd'):                       # an undecided row is explained by nothing
        assert not is_explained(explained(noisy, of('sgd'), of('rsgd'), of(control)))

def test_three_of_three_bends_are_no_certainty_and_none_of_ten_refutes_nothing():
    assert share_interval(1., 3)[0] == pytest.approx(.2924, abs=1e-4)
    def bends(worst): return pair_table(10, worst, ring=True).rename(columns=dict(value='worst')).assign(steps=200, endpoint=0.)
    none, all_ten = found(bends(lambda i, j: .2), .001), found(bends(lambda i, j: .0005), .001)
    assert (none.verdict, none.joined, none.worst) == ('undecided', 0, .2)
    assert all_ten.verdict == 'holds' and all_ten.lo > .5
    three = pair_table(3, lambda i, j: 0.).rename(columns=dict(value='worst')).assign(steps=200, endpoint=0.)
    assert found(three, .001).verdict == 'undecided' and effective_pairs(three) < 2

def test_a_pair_once_joined_stays_joined():
    table = pair_table(4, lambda i, j: .0).rename(columns=dict(value='worst')).assign(endpoint=0.)
    later = pd.concat([table.assign(steps=100), table.assign(steps=200, worst=.5)])
    assert list(survival(later, .001).joined) == [6, 6]

def test_simpson():
    gen = np.random.default_rng(1)
    rows = pd.DataFrame([(l, s, k*4 + gen.standard_normal(), k*4 + gen.standard_normal()) for k, l in enumerate(['sgd', 'rsgd', 'adv']) for s in range(10)],
                        columns=['label', 'seed', 'x', 'y'])
    assert stats.spearmanr(rows.x, rows.y).statistic > .7
    inside_classes = within(rows, 'x', 'y', gen)
    assert inside_classes.p > .05 and inside_classes.lo < 0 < inside_classes.hi
    assert over_classes(inside_classes).df == 2
    moved = rows.assign(x=rows.x + 100*(rows.label=='adv'))          # classes apart: nothing changes within
    assert within(moved, 'x', 'y', np.random.default_rng(2)).value == within(rows, 'x', 'y', gen).value

def test_equal_barriers_are_equivalent_and_equal_values_are_not_certain():
    normalisation = Effect(.0001, .0004, 9, 10)
    assert is_equivalent(normalisation, MARGINS['barrier'].beside(.12))
    assert not is_equivalent(normalisation, MARGINS['barrier'].beside(.001))     # beside a small barrier it is not small
    row = claim_row('none moves', 'barrier', of_networks([0., 0., 0.]), margin=.01)
    assert decide([row]).verdict[0] == 'undecided'

def test_verdict_follows_the_estimate_when_everything_is_mirrored():
    gen = np.random.default_rng(3)
    effects = [Effect(gen.normal(0, .03), .01, 9, 10) for _ in range(40)]
    up = decide([claim_row(f'{k}', 'a', e, margin=.01) for k, e in enumerate(effects)])
    down = decide([claim_row(f'{k}', 'a', e._replace(value=-e.value), direction='<', margin=.01) for k, e in enumerate(effects)])
    assert list(up.verdict) == list(down.verdict) and len(set(up.verdict)) >= 3
    flipped = decide([claim_row(f'{k}', 'a', e, direction='<', margin=.01) for k, e in enumerate(effects)])
    swap = {'holds': 'does not hold', 'does not hold': 'holds'}
    assert list(flipped.verdict) == [swap.get(v, v) for v in up.verdict]

def test_more_claims_never_make_one_surer():
    effect = Effect(1., .4, 9, 10)
    alone = decide([claim_row('it', 'a', effect)]).q[0]
    company = [claim_row(f'{k}', 'a', Effect(0., .4, 9, 10)) for k in range(5)]
    assert decide([claim_row('it', 'a', effect), *company]).q[0] > alone
    elsewhere = [r | dict(family='b') for r in company]
    assert decide([claim_row('it', 'a', effect), *elsewhere]).q[0] == alone

def test_q_values_are_benjamini_hochberg():
    p = np.random.default_rng(4).random(30)
    order = np.argsort(p)
    by_hand = np.empty(30)
    for rank, k in enumerate(order): by_hand[k] = min(30*p[j]/(i+1) for i, j in enumerate(order) if i>=rank)
    assert q_values(p, ['a']*30) == pytest.approx(np.minimum(by_hand, 1))

def test_no_effect_is_discovered_in_five_of_a_hundred_studies_at_most():
    gen, studies, wrong = np.random.default_rng(5), 150, 0
    for _ in range(studies):
        rows = [claim_row(f'{k}', 'one', of_networks(x)) for k, x in enumerate(gen.standard_normal((40, 5)))]
        q = q_values([r['p'] for r in rows], ['one']*40)
        wrong += (q<=.05).any()
    assert wrong/studies < .05 + 2*math.sqrt(.05*.95/studies)

def test_saturated_rows_are_named_and_a_seen_effect_stays():
    assert is_saturated(.87, .9) and not is_saturated(.6, .9)
    full = dict(family='barrier', margin=.01, saturated=True)
    found = decide([claim_row('unseen', effect=Effect(.001, .01, 9, 10), **full), claim_row('seen', effect=Effect(.05, .001, 9, 10), **full)])
    assert list(found.verdict) == ['saturated', 'holds']

def test_pairs_of_networks_alone_give_the_interval_of_the_networks():
    a = np.random.default_rng(6).standard_normal(7)
    table = pair_table(7, lambda i, j: a[i] + a[j])
    got = of_pairs(table, table.value)
    assert got.interval()[:3] == pytest.approx(2*np.array(of_networks(a).interval()[:3]))
    slow = jackknife(lambda f: f['t'].value.mean(), dict(t=table), range(7))
    assert got.interval()[:3] == pytest.approx(slow[:3])

def test_scaling_and_order_of_rows_change_nothing():
    gen = np.random.default_rng(7)
    table = pd.concat([pair_table(5, lambda i, j: gen.uniform(1, 2), label=l) for l in ('sgd', 'adv')])
    sides = dict(column='value', label='adv'), dict(column='value', label='sgd')
    one = difference(table, *sides)
    shuffled = table.sample(frac=1, random_state=1)
    assert difference(shuffled, *sides)[:3] == pytest.approx(one[:3])
    assert difference(table.assign(value=table.value*7), *sides).p_value() == pytest.approx(one.p_value())
    for scale in ('log', 'ratio'):
        assert difference(table.assign(value=table.value*7), *sides, scale=scale)[:3] == pytest.approx(difference(table, *sides, scale=scale)[:3])

def test_sigma_star_orders_networks_where_a_fixed_sigma_need_not():
    curve = lambda label, energies: pd.DataFrame(dict(label=label, seed=0, sigma=[.1, .2, .4], energy=energies))
    stars = sigma_star(pd.concat([curve('a', [.01, .05, .3]), curve('b', [.0, .12, .2])])).set_index('label').sigma
    assert .2 < stars['a'] < .4 and .1 < stars['b'] < .2

def test_three_looks_spend_five_percent():
    gen = np.random.default_rng(8)
    walk = np.cumsum(gen.standard_normal((20_000, LOOKS[-1])), axis=1)
    p = np.stack([2*stats.norm.sf(np.abs(walk[:, n-1])/math.sqrt(n)) for n in LOOKS], 1)
    assert (p<=np.array(levels())).any(1).mean() == pytest.approx(.05, abs=.006)
    assert (p<=.05).any(1).mean() > .08
    assert level_at(5) == 0. and level_at(12) == level_at(10) < level_at(20) < .05

def test_the_next_look_comes_only_for_open_claims():
    undecided = decide([claim_row('a', 'f', Effect(.01, .01, 9, 10))])
    assert next_look(undecided, 10) == 15 and next_look(undecided, 20) is None
    assert next_look(decide([claim_row('a', 'f', Effect(.1, .01, 9, 10))]), 10) is None

def test_needed_networks_give_the_power_that_was_asked():
    effect = Effect(.02, .015, 9, 10)
    n = needed(effect)[0]
    assert power(effect, n) >= .8 > power(effect, n-1)
    assert str(n) in decide([claim_row('a', 'f', effect)]).note[0]

def test_random_effects_do_not_shrink_when_studies_disagree():
    alike = pooled([Effect(.1, .01, 9, 10), Effect(.11, .01, 9, 10), Effect(.09, .01, 9, 10)]).effect
    apart = pooled([Effect(.1, .01, 9, 10), Effect(.3, .01, 9, 10), Effect(-.1, .01, 9, 10)])
    assert apart.effect.se > 5*alike.se and apart.i2 > .9 and apart.tau2 > 0

def test_signs_and_worst_orders():
    assert agreement(['holds', 'does not hold', 'undecided', 'equivalent'])[:3] == (1, 1, 2)
    orders = pd.concat([pair_table(3, lambda i, j: i + j + k).assign(order=k) for k in range(4)])
    assert list(worst_order(orders).value) == [i + j + 3 for i in range(3) for j in range(i)]
