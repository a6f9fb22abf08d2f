"""Optimisers and schedules of Optax by name: the tables have all of them, and options are those of their signatures."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting.optimisers import CHAINED, OPTIMISERS, SCHEDULES, make_optimiser, make_schedule

optax = pytest.importorskip("optax")

EXAMPLES = {
    "constant_schedule": {"value": 0.1},
    "cosine_decay_schedule": {"init_value": 0.1, "decay_steps": 10},
    "cosine_onecycle_schedule": {"transition_steps": 10, "peak_value": 0.1},
    "exponential_decay": {"init_value": 0.1, "transition_steps": 3, "decay_rate": 0.5},
    "join_schedules": {"schedules": [{"name": "constant_schedule", "value": 0.1},
                                     {"name": "linear_schedule", "init_value": 1, "end_value": 0,
                                      "transition_steps": 9}], "boundaries": [4]},
    "linear_onecycle_schedule": {"transition_steps": 10, "peak_value": 0.1},
    "linear_schedule": {"init_value": 0.1, "end_value": 0.01, "transition_steps": 10},
    "piecewise_constant_schedule": {"init_value": 0.1, "boundaries_and_scales": {"3": 0.5, "6": 0.1}},
    "piecewise_interpolate_schedule": {"interpolate_type": "linear", "init_value": 0.1,
                                       "boundaries_and_scales": {"4": 0.5}},
    "polynomial_schedule": {"init_value": 0.1, "end_value": 0.01, "power": 2, "transition_steps": 10},
    "sgdr_schedule": {"cosine_kwargs": [{"init_value": 0, "peak_value": 0.1, "warmup_steps": 2, "decay_steps": 5}]},
    "warmup_constant_schedule": {"init_value": 0, "peak_value": 0.1, "warmup_steps": 4},
    "warmup_cosine_decay_schedule": {"init_value": 0, "peak_value": 0.1, "warmup_steps": 4, "decay_steps": 10},
    "warmup_exponential_decay_schedule": {"init_value": 0, "peak_value": 0.1, "warmup_steps": 2,
                                          "transition_steps": 3, "decay_rate": 0.5},
}
BY_HAND = {
    "join_schedules": lambda: optax.join_schedules([optax.constant_schedule(0.1), optax.linear_schedule(1, 0, 9)], [4]),
    "piecewise_constant_schedule": lambda: optax.piecewise_constant_schedule(0.1, {3: 0.5, 6: 0.1}),
    "piecewise_interpolate_schedule": lambda: optax.piecewise_interpolate_schedule("linear", 0.1, {4: 0.5}),
}


def test_the_tables_have_all_aliases_and_schedules_that_optax_has():
    aliases = {name for name, value in vars(optax).items() if inspect.isfunction(value)
               and value.__module__ == optax.adam.__module__}
    assert aliases | {"nadam", "nadamw"} == {*OPTIMISERS, "optimistic_adam"}  # which is deprecated
    schedules = {name for name, value in vars(optax).items() if inspect.isfunction(value)
                 and value.__module__ in (optax.linear_schedule.__module__, optax.join_schedules.__module__)}
    assert schedules == set(SCHEDULES) == set(EXAMPLES)


@pytest.mark.parametrize("name", [name if name in ("adam", "sgd", "rprop") else
                                  pytest.param(name, marks=pytest.mark.long) for name in OPTIMISERS])
def test_every_optimiser_takes_a_step_that_makes_a_parabola_lower(name):
    import jax.numpy as jnp

    optimiser = make_optimiser(name, {} if name == "polyak_sgd" else {"learning_rate": 0.01})
    x = {"x": jnp.array([[1.0, -2.0]])}
    state = optimiser.transformation.init(x)
    for _ in range(2):  # the first step of some goes nowhere
        updates, state = optimiser.transformation.update(
            {"x": 2 * x["x"]}, state, x, value=(x["x"]**2).sum(), grad={"x": 2 * x["x"]},
            value_fn=lambda x: (x["x"]**2).sum())
        x = optax.apply_updates(x, updates)
    assert float((x["x"]**2).sum()) < 5


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_that_of_optax(name):
    ours = make_schedule({"name": name, **EXAMPLES[name]})
    theirs = BY_HAND[name]() if name in BY_HAND else getattr(optax, name)(**EXAMPLES[name])
    np.testing.assert_array_equal([ours(i) for i in range(12)], [theirs(i) for i in range(12)])


@pytest.mark.parametrize("method", CHAINED)
def test_clipping_comes_before_the_optimiser(method):
    import jax.numpy as jnp

    x, g = {"x": jnp.ones(3)}, {"x": jnp.array([3.0, 4.0, 0.0])}
    ours = make_optimiser("sgd", {"learning_rate": 1.0, method: 0.5}).transformation
    theirs = optax.chain(getattr(optax, method)(0.5), optax.sgd(1.0))
    found, expected = (t.update(g, t.init(x), x)[0]["x"] for t in (ours, theirs))
    np.testing.assert_array_equal(found, expected)
    assert np.max(np.abs(found)) < 3


def test_weight_decay_goes_to_the_optimiser_that_has_it_and_else_to_the_gradients():
    import jax.numpy as jnp

    x = {"x": jnp.array([2.0])}
    for ours, theirs in ((make_optimiser("adamw", {"learning_rate": 0.1, "weight_decay": 0.3}),
                          optax.adamw(0.1, weight_decay=0.3)),
                         (make_optimiser("sgd", {"learning_rate": 0.1, "weight_decay": 0.3}),
                          optax.chain(optax.add_decayed_weights(0.3), optax.sgd(0.1)))):
        found, expected = (t.update(x, t.init(x), x)[0]["x"] for t in (ours.transformation, theirs))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("arguments", "words"), [
    (("adm", {}), "method: there is no optimiser 'adm'; did you mean 'adam'?"),
    (("chain", {}), "method: there is no optimiser 'chain'"),
    (("__import__", {}), "method: there is no optimiser '__import__'"),
    (("adam", {"beta1": 0.9}), "method 'adam' has no option 'beta1'; it has 'learning_rate', 'b1'"),
    (("adam", {"nestrov": True}), "method 'adam' has no option 'nestrov'; did you mean 'nesterov'?"),
    (("adam", {"learning_rate": "fast"}), "method 'adam': 'learning_rate' is \"fast\"; expected a finite number"),
    (("adam", {"b1": True}), "method 'adam': 'b1' is true; expected a finite number"),
    (("adam", {"nesterov": 1}), "method 'adam': 'nesterov' is 1; expected true or false"),
    (("adam", {"mu_dtype": "object"}), "method 'adam': 'mu_dtype' is \"object\"; expected one of 'float16'"),
    (("adamw", {"mask": "x"}), "method 'adamw' has no option 'mask'"),
    (("lbfgs", {"memory_size": 2.5}), "'memory_size' is 2.5; expected a whole number"),
    (("polyak_sgd", {"variant": 3}), "'variant' is 3; expected one of 'sps', 'sps+'"),
    (("polyak_sgd", {"variant": "other"}), "'variant' is \"other\"; expected"),
    (("adam", {"clip": -1}), "method 'adam': 'clip' is -1; expected a finite number above 0"),
    (("adam", {"average": 1}), "method 'adam': 'average' is 1; expected a finite number above 0 and below 1"),
    (("adam", {"learning_rate": 1}, {"name": "constant_schedule", "value": 1}), "give one of the two"),
    (("rprop", {}, {"name": "constant_schedule", "value": 1}), "method 'rprop' takes no schedule"),
    (("adam", {}, "cosine"), "schedule is \"cosine\"; expected an object with a 'name'"),
    (("adam", {}, {"name": "cosine_decay"}), "schedule: there is no schedule 'cosine_decay'"),
    (("adam", {}, {"name": "linear_schedule", "init_value": 1, "end_value": 0}), "needs the option 'transition_steps'"),
    (("adam", {}, {"name": "join_schedules", "schedules": [], "boundaries": [1]}), "'schedules' is an empty list"),
    (("adam", {}, {"name": "join_schedules", "schedules": [3], "boundaries": [1]}), "schedule is 3; expected an"),
    (("adam", {}, {"name": "sgdr_schedule", "cosine_kwargs": [3]}), "'cosine_kwargs' is 3; expected an object"),
    (("adam", {}, {"name": "piecewise_constant_schedule", "init_value": 1, "boundaries_and_scales": {"x": 1}}),
     "has the key \"x\"; expected the number of a step"),
    (("adam", {}, {"name": "piecewise_constant_schedule", "init_value": 1, "boundaries_and_scales": [1]}),
     "expected an object such as"),
])
def test_a_wrong_option_is_refused_in_words(arguments, words):
    with pytest.raises(cf.InputError) as error:
        make_optimiser(*arguments)
    assert words in str(error.value)


def test_without_a_learning_rate_there_is_a_default_and_noise_takes_the_seed():
    import jax
    import jax.numpy as jnp

    x = {"x": jnp.ones(2)}
    assert make_optimiser("adam", {}).step_size == 1e-3
    assert make_optimiser("adadelta", {}).step_size is None
    draws = [optimiser.update(x, optimiser.init(x), x)[0]["x"]
             for optimiser in (make_optimiser("noisy_sgd", {}, seed=seed).transformation for seed in (1, 1, 2))]
    assert jax.numpy.array_equal(draws[0], draws[1])
    assert not jax.numpy.array_equal(draws[0], draws[2])
