"The theory of shallow models against oracles that share nothing with it, and at its limits."
import warnings
import numpy as np, pytest, torch
from scipy.special import log_ndtr, ndtr, owens_t
from landscape_nb import shallow
from landscape_nb.theory import perceptrons
from landscape_nb.theory.perceptrons import agreement, descend, fly, patterns, perceptron_table, unit
from landscape_nb.shallow import (cross_overlap, gardner_capacity, geodesic_violation, local_energy_exact, replicon, stability_cdf,
                                  stability_density, typical_angle, typical_energy, typical_overlap)
from landscape_nb.store import stream

@pytest.mark.parametrize('found, published', [
    (lambda: gardner_capacity(0.), 2.), (lambda: gardner_capacity(1.), .5196), (lambda: typical_overlap(1., 0.), .5853), (lambda: typical_overlap(2., -.5), .5076)])
def test_reference_values(found, published): assert abs(found()-published) < 1e-4

def test_every_formula_takes_arrays():
    alpha, kappa, at = np.array([[.5], [1.]]), np.array([-.6, -.3, -.2]), np.array([.1, .9])
    assert gardner_capacity(kappa).shape == (3,)
    for f in (typical_overlap, typical_angle, replicon):
        assert f(alpha, kappa).shape == (2, 3) and np.shape(f(1., 0.)) == ()
        assert np.allclose(f(alpha, kappa), [[f(a, k) for k in kappa] for a in alpha[:, 0]])
    for f in (stability_density, stability_cdf, typical_energy, geodesic_violation):
        assert f(alpha, kappa, at).shape == (2, 3, 2)
        assert np.allclose(f(alpha, kappa, at), [[f(a, k, at) for k in kappa] for a in alpha[:, 0]])
    assert cross_overlap(alpha, kappa, -.4).shape == (2, 3) and local_energy_exact(np.ones((5, 7)), at).shape == (5, 2)

def triangle(x, a, b, c):
    "Pr[a u1 + b u2 < c, u1 > x, u2 > x] by Owen's T: a half-plane and two quadrants of it."
    # the region is the quadrant u1, u2 > x minus the part of it beyond the line
    def corner(h, k, rho): # Pr[z1 < h, z2 < k] for correlation rho (Owen 1956)
        s = np.sqrt(1-rho**2)
        t = lambda h, k: owens_t(h, (k-rho*h)/(h*s))
        return (ndtr(h)+ndtr(k))/2 - t(h, k) - t(k, h) - (0 if h*k > 0 or (h*k == 0 and h+k >= 0) else .5)
    n = np.hypot(a, b)
    below = lambda h, sign: corner(h, c/n, sign)             # u1 (or u2) < h and the combination < c
    # Pr[comb < c] - Pr[comb < c, u1 < x] - Pr[comb < c, u2 < x] + Pr[comb < c, u1 < x, u2 < x]
    assert c >= (a+b)*x
    return ndtr(c/n) - below(x, a/n) - below(x, b/n) + ndtr(x)**2      # with both below x the combination is below (a+b) x <= c

@pytest.mark.parametrize('alpha, kappa, tau', [(2., -.5, -.5), (2., -.5, .3), (1., 0., .4), (.4, .3, .6), (6., -1., -.9)])
def test_geodesic_by_owens_function(alpha, kappa, tau):
    q, ts = typical_overlap(alpha, kappa), (.07, .3, .5)
    theta, (z, w) = np.arccos(q), np.polynomial.hermite_e.hermegauss(181)
    x = (kappa-np.sqrt(q)*z)/np.sqrt(1-q)
    keep = (x < 5) & (abs(x) > 1e-9)       # where a product of tails still has digits; the rest has no weight below
    for t, found in zip(ts, geodesic_violation(alpha, kappa, ts, tau)):
        a, b = np.sin((1-t)*theta)/np.sin(theta), np.sin(t*theta)/np.sin(theta)
        d = (tau-(a+b)*kappa)/np.sqrt(1-q)
        value = sum(w_*triangle(x_, a, b, d+(a+b)*x_)/ndtr(-x_)**2 for x_, w_ in zip(x[keep], w[keep]))/np.sqrt(2*np.pi)
        assert abs(value-found) < 1e-5 + w[~keep].sum()

@pytest.mark.parametrize('alpha, kappa', [(1., 0.), (2., -.5), (.4, .5), (4., -1.)])
def test_more_nodes_change_nothing(alpha, kappa, monkeypatch):
    def values(): return np.concatenate([geodesic_violation(alpha, kappa, (.1, .5), kappa+.1), geodesic_violation(alpha, kappa, (.1, .5), kappa+.1, other=kappa-.2),
                                         typical_energy(alpha, kappa, (.05, .5)), stability_density(alpha, kappa, [kappa, kappa+.5]), [replicon(alpha, kappa)]])
    before = values()
    monkeypatch.setattr(shallow, 'RULE', {n: np.polynomial.legendre.leggauss(2*n) for n in (32, 128)})
    assert np.allclose(before, values(), rtol=1e-4, atol=1e-6)

def test_close_to_capacity_nothing_overflows():
    kappa = np.array([-2., -1., 0., 1., 2.])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for near in (1e-3, 1e-6, 1e-9, 1e-12):
            alpha, at = gardner_capacity(kappa)*(1-near), np.array([.2, .5])
            for f in (typical_overlap, typical_angle, replicon): assert np.isfinite(f(alpha, kappa)).all()
            for f in (stability_density, stability_cdf, typical_energy): assert np.isfinite(f(alpha, kappa, at)).all()
            for tau in (kappa, kappa+.5):
                found = geodesic_violation(alpha, kappa, at, tau)
                assert np.isfinite(found).all() and (found >= 0).all() and (found <= 1+1e-9).all()
    assert np.allclose(geodesic_violation(alpha, kappa, at, kappa+.5), ndtr(kappa+.5)[:, None], atol=1e-4)       # one solution: its own margins

def test_pair_is_its_own_mirror_image():
    ts = np.linspace(0, 1, 9)
    one, two = (geodesic_violation(2., k, ts, -.6, other=o) for k, o in ((-1., -.7), (-.7, -1.)))
    assert np.allclose(one, two[::-1], atol=2e-5)

def test_load_from_which_replica_symmetry_breaks():
    alpha = np.linspace(3., 4.6, 60)
    unstable = replicon(alpha, -.5) > 1
    assert unstable.any() and not unstable[0] and (np.diff(unstable.astype(int)) >= 0).all()       # once, and below the capacity
    assert alpha[unstable][0] < gardner_capacity(-.5)

@pytest.mark.parametrize('kappa', [-.7, 0., .2])
def test_billiard_runs_backwards(kappa):
    x, gen = patterns(.8, 40, (0, 1)), stream('back')
    w = descend(x, kappa, 3, gen)
    v = torch.randn(w.shape, dtype=w.dtype, generator=gen)
    v = unit(v - (v*w).sum(-1, keepdim=True)*w)
    there, arrow = fly(w, v, x, x @ x.mT, kappa, .6)
    assert (there @ x.mT).min() > kappa-1e-9 and (there-w).norm(dim=-1).min() > .05
    assert torch.allclose(arrow.norm(dim=-1), torch.ones(2, 3, dtype=w.dtype)) and (arrow*there).sum(-1).abs().max() < 1e-9
    back, _ = fly(there, -arrow, x, x @ x.mT, kappa, .6)
    assert (back-w).abs().max() < 1e-6

def test_table_of_small_perceptrons():
    frame = perceptron_table(2., -1., n=100, seeds=range(8), chains=2, warm=4)
    points = agreement(frame)
    assert set(frame.seed) == set(range(8)) and set(frame.label) == {'perceptron'} and len(points) == 11
    assert points.z.abs().max() < 8 and (abs(points.measured-points.theory) < .1).all()
    one = perceptron_table(2., -1., n=100, seeds=[3, 5], chains=2, warm=3)
    assert one.equals(perceptron_table(2., -1., n=100, seeds=[3, 5], chains=2, warm=3)) and set(one.seed) == {3, 5}

@pytest.mark.parametrize('found', [perceptrons.perceptron_rule, perceptrons.sgd, lambda *a: perceptrons.sgd(*a, replicas=3)])
def test_algorithms_solve(found):
    x = patterns(1.5, 200, range(3))
    w = found(x, -1., 2, stream('found'))
    assert w.shape == (3, 2, 200) and torch.allclose(w.norm(dim=-1), torch.ones(3, 2, dtype=w.dtype))
    assert ((w @ x.mT) > -1).double().mean() > .995
