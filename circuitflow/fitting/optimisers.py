"""Optimisers and schedules of Optax by name, the extra `train`.

A name from a document is looked up in the two tables here; nothing else of Optax can be named. Options are validated
against the signature of the function that Optax documents: https://optax.readthedocs.io/en/latest/api/optimizers.html
and https://optax.readthedocs.io/en/latest/api/optimizer_schedules.html.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from circuitflow.errors import InputError, MissingExtraError
from circuitflow.text import listing, nearest, printable, short

OPTIMISERS: Mapping[str, str] = {
    "adabelief": "steps by the belief in the gradient: its variance around its running mean",
    "adadelta": "steps scaled by running averages of squared gradients and squared updates",
    "adafactor": "squared gradients kept by rows and columns of each matrix, for little memory",
    "adagrad": "steps divided by the root of all squared gradients so far",
    "adam": "running means of the gradient and of its square",
    "adamax": "Adam with the running maximum in place of the mean square",
    "adamaxw": "Adamax with decoupled weight decay",
    "adamw": "Adam with decoupled weight decay",
    "adan": "Adam with a Nesterov momentum of gradient differences",
    "amsgrad": "Adam whose mean square never falls",
    "fromage": "steps relative to the norm of each parameter",
    "lamb": "Adam scaled layer by layer, for large batches",
    "lars": "momentum scaled layer by layer, for large batches",
    "lbfgs": "limited-memory BFGS with a line search on the batch",
    "lion": "the sign of a momentum",
    "nadam": "Adam with Nesterov momentum",
    "nadamw": "Nadam with decoupled weight decay",
    "noisy_sgd": "gradient descent with noise that fades; the fit's seed draws it",
    "novograd": "mean squares layer by layer",
    "optimistic_adam_v2": "Adam that extrapolates the gradient, for games",
    "optimistic_gradient_descent": "gradient descent that extrapolates the gradient",
    "polyak_sgd": "steps of Polyak's length, from the loss",
    "radam": "Adam with the variance of its first steps rectified",
    "rmsprop": "steps divided by the running root mean square",
    "rprop": "step sizes that grow while signs agree, for full batches",
    "sgd": "gradient descent, with momentum if it is given",
    "sign_sgd": "the sign of the gradient",
    "signum": "the sign of a momentum of gradients",
    "sm3": "squared gradients kept by rows and columns, for little memory",
    "yogi": "Adam whose mean square changes by bounded steps",
}
"""Optax's aliases that it has not deprecated, and what they do in words."""

SCHEDULES: Mapping[str, str] = {
    "constant_schedule": "the same step size throughout",
    "cosine_decay_schedule": "falls along a cosine",
    "cosine_onecycle_schedule": "rises and falls once along cosines",
    "exponential_decay": "falls by a factor",
    "join_schedules": "one schedule after another",
    "linear_onecycle_schedule": "rises and falls once along lines",
    "linear_schedule": "goes along a line",
    "piecewise_constant_schedule": "multiplied by factors at given steps",
    "piecewise_interpolate_schedule": "multiplied by factors, interpolated between steps",
    "polynomial_schedule": "falls along a power",
    "sgdr_schedule": "cosines with warm restarts",
    "warmup_constant_schedule": "rises along a line and stays",
    "warmup_cosine_decay_schedule": "rises along a line and falls along a cosine",
    "warmup_exponential_decay_schedule": "rises along a line and falls by a factor",
}
"""Optax's schedules, and what they do in words."""

CHAINED: Mapping[str, str] = {
    "clip": "largest size of an element of a gradient",
    "clip_by_block_rms": "largest root mean square of the gradient on a parameter",
    "clip_by_global_norm": "largest norm of all gradients together",
    "adaptive_grad_clip": "largest norm of a gradient relative to that of its parameter",
}
"""Gradient clipping, applied in this order before the optimiser; each option is one positive number."""

LEARNING_RATE = 1e-3
"""Where neither `learning_rate` nor a schedule is given and the optimiser needs one."""

_NOT_DATA = ("key", "linesearch", "mask", "seed", "trust_ratio_mask", "weight_decay_mask")
"""Parameters of aliases that take functions, trees or keys, which a document cannot state."""

_WORDS = {"interpolate_type": ("linear", "cosine"), "variant": ("sps", "sps+")}
"""Options that are words."""

_DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Optimiser:
    """An optimiser with its chain.

    Attributes:
        name: the alias.
        transformation: Optax's gradient transformation; its update takes `value`, `grad` and `value_fn`.
        average: the decay of the exponential moving average of the parameters; None for no average.
        step_size: the step size by step, a number or a function of Optax; None where the optimiser has its own.
    """

    name: str
    transformation: Any
    average: float | None
    step_size: Any


def load_optax() -> Any:
    """The module `optax`.

    Raises:
        MissingExtraError: it or JAX is not installed.
    """
    if find_spec("optax") is None or find_spec("jax") is None:
        raise MissingExtraError("stochastic methods need `pip install 'circuitflow[train]'`")
    return import_module("optax")


def make_optimiser(name: str, options: Mapping[str, Any], schedule: Mapping[str, Any] | None = None,
                   seed: int = 0) -> Optimiser:
    """An optimiser from what a document says.

    Args:
        name: one of `OPTIMISERS`.
        options: its options by Optax's names; those of `CHAINED`; `weight_decay`, which goes to the optimiser where it
            has one and else adds that much of the parameters to the gradients; and `average`, a decay between 0 and 1.
        schedule: `{"name": one of SCHEDULES, …}` in place of `learning_rate`.
        seed: of the noise of `noisy_sgd`.

    Raises:
        InputError: there is no such name or option, or a value does not fit.
        MissingExtraError: Optax is not installed.
    """
    optax = load_optax()
    words = f"method '{printable(name, 60)}'"
    function = _function(optax, name, OPTIMISERS, "method", "optimiser")
    parameters = _parameters(function)
    own, chain, average = {}, [], None
    common = [*CHAINED, "average", *(() if "weight_decay" in parameters else ("weight_decay",))]
    for key, value in options.items():
        if key in common and key not in parameters:
            continue
        own[key] = value
    chain += [getattr(optax, key)(_number(options[key], f"{words}: '{key}'", above=0)) for key in CHAINED
              if key in options]
    if "average" in options:
        average = _number(options["average"], f"{words}: 'average'", above=0, below=1)
    if "weight_decay" in options and "weight_decay" not in parameters:
        chain.append(optax.add_decayed_weights(_number(options["weight_decay"], f"{words}: 'weight_decay'")))
    checked = _checked(parameters, own, words, common)
    if schedule is not None:
        if "learning_rate" in own:
            raise InputError(f"{words} has a learning_rate, and there is a schedule; give one of the two")
        if "Callable" not in str(getattr(parameters.get("learning_rate"), "annotation", "")):
            raise InputError(f"{words} takes no schedule; leave it out, or choose another method, such as 'adam'")
        checked["learning_rate"] = make_schedule(schedule)
    elif "learning_rate" in parameters and "learning_rate" not in own and _is_required(parameters["learning_rate"]):
        checked["learning_rate"] = LEARNING_RATE
    signature = inspect.signature(function).parameters
    if "key" in signature or "seed" in signature:
        checked["key" if "key" in signature else "seed"] = seed
    chain.append(_made(function, checked, words))
    return Optimiser(name, optax.with_extra_args_support(optax.chain(*chain)), average, checked.get("learning_rate"))


def make_schedule(schedule: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A schedule of the step size from `{"name": …, …}`.

    Raises:
        InputError: there is no such name or option, or a value does not fit.
        MissingExtraError: Optax is not installed.
    """
    optax = load_optax()
    if not isinstance(schedule, Mapping) or not isinstance(schedule.get("name"), str):
        raise InputError(f"schedule is {short(schedule)}; expected an object with a 'name', one of "
                         f"{listing(SCHEDULES, len(SCHEDULES))}")
    name = schedule["name"]
    function = _function(optax, name, SCHEDULES, "schedule", "schedule")
    words = f"schedule '{name}'"
    options = {key: value for key, value in schedule.items() if key != "name"}
    nested = {"schedules": lambda value: [make_schedule(part) for part in _list(value, f"{words}: 'schedules'")],
              "boundaries": lambda value: [_whole(part, f"{words}: 'boundaries'")
                                           for part in _list(value, f"{words}: 'boundaries'")],
              "boundaries_and_scales": lambda value: _by_step(value, f"{words}: 'boundaries_and_scales'"),
              "cosine_kwargs": lambda value: [
                  _checked(_parameters(optax.warmup_cosine_decay_schedule), part, f"{words}: 'cosine_kwargs'", ())
                  for part in _list(value, f"{words}: 'cosine_kwargs'")]}
    made: Callable[[Any], Any] = _made(function, _checked(_parameters(function), options, words, (), nested), words)
    return made


def _function(optax: Any, name: str, table: Mapping[str, str], option: str, kind: str) -> Callable[..., Any]:
    """The function of a table by name."""
    if name not in table:
        raise InputError(f"{option}: there is no {kind} '{printable(name, 60)}'{nearest(name, table)}; there are "
                         f"{listing(table, len(table))}")
    function: Callable[..., Any] | None = getattr(optax, name, None)
    if function is None:
        raise InputError(f"{option}: Optax {printable(optax.__version__, 20)} has no '{name}'; install a newer one, or "
                         f"choose another {kind}")
    return function


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that a document can state."""
    return {name: parameter for name, parameter in inspect.signature(function).parameters.items()
            if name not in _NOT_DATA}


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def _checked(parameters: Mapping[str, inspect.Parameter], options: Any, words: str, more: Collection[str],
             nested: Mapping[str, Callable[[Any], Any]] | None = None) -> dict[str, Any]:
    """Options held to a signature.

    Raises:
        InputError: one is unknown, missing, or of a wrong kind.
    """
    if not isinstance(options, Mapping):
        raise InputError(f"{words} is {short(options)}; expected an object of options")
    names = [*parameters, *more]
    for key in options:
        if key not in parameters:
            raise InputError(f"{words} has no option '{printable(str(key), 60)}'{nearest(str(key), names)}; it has "
                             f"{listing(names, len(names)) or 'none'}")
    for key, parameter in parameters.items():
        if _is_required(parameter) and key not in options and key != "learning_rate":
            raise InputError(f"{words} needs the option '{key}'; give it a value")
    return {key: nested[key](value) if nested and key in nested else
            _value(key, parameters[key].default, value, f"{words}: '{key}'") for key, value in options.items()}


def _value(key: str, default: Any, value: Any, what: str) -> Any:
    """A value of the kind of a parameter's default."""
    if "dtype" in key:
        if value is not None and value not in _DTYPES:
            raise InputError(f"{what} is {short(value)}; expected one of {listing(_DTYPES)}")
        return value
    if key in _WORDS:
        if value not in _WORDS[key]:
            raise InputError(f"{what} is {short(value)}; expected one of {listing(_WORDS[key])}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"{what} is {short(value)}; expected true or false")
        return value
    if value is None and default is None:
        return None
    if key.endswith(("_steps", "_begin", "_size", "_size_to_factor")):
        return _whole(value, what)
    return _number(value, what)


def _number(value: Any, what: str, above: float = -math.inf, below: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < below:
        bounds = "".join((f" above {above:g}" * (above > -math.inf), f" and below {below:g}" * (below < math.inf)))
        raise InputError(f"{what} is {short(value)}; expected a finite number{bounds}")
    return value


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InputError(f"{what} is {short(value)}; expected a whole number, 0 or more")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{what} is {short(value)}; expected a list")
    return list(value)


def _by_step(value: Any, what: str) -> dict[int, float]:
    """Factors by step; JSON has the steps as text."""
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is {short(value)}; expected an object such as {{\"1000\": 0.1}}")
    for step in value:
        if not (isinstance(step, int) or (isinstance(step, str) and step.isascii() and step.isdigit()
                                          and len(step) < 10)):
            raise InputError(f"{what} has the key {short(step)}; expected the number of a step, such as \"1000\"")
    return {int(step): _number(factor, f"{what}, step {step}") for step, factor in value.items()}


def _made(function: Callable[..., Any], options: Mapping[str, Any], words: str) -> Any:
    """What Optax makes of the options; its refusals in our words."""
    try:
        return function(**options)
    except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
        raise InputError(f"{words}: {printable(str(error) or type(error).__name__, 200)}") from None
