"""The functions of an exported file, lowered: the value, and the value and gradients, for sizes that are numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.flat.arrays import Array, computed, stored, variable
from circuitflow.engines.flat.code import Code
from circuitflow.engines.flat.indices import Indices
from circuitflow.engines.flat.language import BOOL, DType, Expr, Language, Unwritable
from circuitflow.engines.flat.lowering import Lowering, Rules, Tables
from circuitflow.engines.flat.memory import Buffer
from circuitflow.engines.flat.origins import origin_of
from circuitflow.engines.flat.signature import Argument
from circuitflow.engines.flat.units import rule_of
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.trace import Value
from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import InputError
from circuitflow.graph.typed import Node
from circuitflow.text import application, printable


class Member(NamedTuple):
    """A number or an array of a struct.

    Attributes:
        name: what the file calls it.
        meaning: what it is.
        shape, dtype: its own.
        default: its value; None where it has none.
        reference: what the circuit calls it.
        is_upstream: whether it is an upstream gradient, which the value does not need.
    """

    name: str
    meaning: str
    shape: tuple[int, ...]
    dtype: DType
    default: Any = None
    reference: str = ""
    is_upstream: bool = False


@dataclass
class Struct:
    """Numbers and arrays that go together.

    Attributes:
        name: what the code calls the one that a function gets, such as "inputs".
        new_name: gives its members names.
        arrow: what stands between it and a member.
        members: by what the circuit calls them.
    """

    name: str
    new_name: Callable[[str], str]
    arrow: str
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def has_defaults(self) -> bool:
        """Whether every member has a value."""
        return bool(self.members) and all(member.default is not None for member in self.members.values())

    def element(self, key: str) -> str:
        """A member as the code of a function names it."""
        return f"{self.name}{self.arrow}{self.members[key].name}"


@dataclass
class Function:
    """A function, lowered.

    Attributes:
        name: its name, such as "value_and_grad".
        code: its statements.
        takes: the structs that it reads: parameters, inputs, and of some others.
        gives: the structs that it fills in.
    """

    name: str
    code: Code
    takes: Sequence[Struct]
    gives: Sequence[Struct]

    @property
    def structs(self) -> list[Struct]:
        """What it takes and fills in, in order."""
        return [*self.takes, *self.gives]


class Result(NamedTuple):
    """What a function fills in.

    Attributes:
        struct: where it goes.
        key: its key there.
        id: its id in the circuit that is lowered.
        meaning: what it is, where its name does not say so.
    """

    struct: Struct
    key: str
    id: str
    meaning: str = ""


class Builder:
    """Lowers functions of one circuit.

    Attributes:
        language: how they are spelled.
        tables: the constant arrays of all functions.
        parameters, inputs: what functions take.
        refusals: the number of each node that may refuse its operands, by id.
    """

    def __init__(self, language: Language, rules: Rules, convert: Callable[[Any], Any],
                 new_names: Callable[[], Any]) -> None:
        """No arguments yet; `convert` gives an array the dtype of the file, `new_names` new local names."""
        self.language, self._rules, self._convert, self._new_names = language, rules, convert, new_names
        self.tables = Tables(lambda hint: language.helper_name(f"{hint}_{len(self.tables.arrays) + 1}"))
        self.parameters, self.inputs = self.struct("parameters"), self.struct("inputs")
        self.refusals: dict[str, int] = {}

    def struct(self, name: str) -> Struct:
        """A struct without members."""
        return Struct(name, self._new_names().new, self.language.arrow)

    def add(self, argument: Argument, kind: str, reference: str) -> None:
        """An argument, of the kind "parameter", "input" or "upstream".

        Raises:
            Unwritable: the language has no type for it.
        """
        self.add_to(self.parameters if kind == "parameter" else self.inputs, argument, reference,
                    is_upstream=kind == "upstream")

    def add_to(self, struct: Struct, argument: Argument, reference: str, *, is_upstream: bool = False) -> None:
        """An argument in a struct; errors are those of `add`."""
        sample = self._convert(np.zeros(argument.type.shape, argument.type.dtype))
        self.language.type_name(sample.dtype)
        default = None if argument.default is None else self._convert(np.asarray(argument.default))
        struct.members[argument.id] = Member(struct.new_name(reference), argument.meaning, sample.shape, sample.dtype,
                                             default, reference, is_upstream)

    def program(self, derived: Derived, arrays: Mapping[str, Any]) -> Program:
        """The lines of a gradient circuit, or of another that is run forward.

        Args:
            derived: the circuit.
            arrays: an array like each of its sources but constants, by id there.
        """
        samples = {id_: self._convert(np.asarray(array)) for id_, array in arrays.items()}
        constants = {id_: self._convert(array) for id_, array in derived.circuit.values.items()}
        return trace_program(derived.plan, samples, constants, checked=True, rule_of=rule_of(self._convert))

    def function(self, name: str, derived: Derived, program: Program, ids: Mapping[str, str],
                 results: Sequence[Result], more: Sequence[Struct] = ()) -> Function:
        """A function of the stages of a gradient circuit.

        Args:
            name: its name.
            derived: the gradient circuit, or another that is run forward.
            program: its lines.
            ids: the keys of these in the structs that it takes.
            results: what it fills in.
            more: structs that it takes beside parameters and inputs.

        Raises:
            InputError: a line has no form.
        """
        names = self._new_names()
        code = Code(self.language, names.new)
        is_forward = derived.question.circuit.nodes.__contains__
        part: list[bool] = []

        def about(node: Node) -> str:
            forward = is_forward(node.id)
            if part != [forward] and derived.gradients:
                part[:] = [forward]
                code.heading("forward pass" if forward else "reverse sweep")
            if forward:
                return application(node.kind, (edge.source for edge in node.operands))
            return origin_of(derived, node.id)

        def refusal(node: Node) -> str:
            return self.language.refusal(self.refusals.setdefault(node.id, len(self.refusals) + 1), node)

        low = Lowering(code, self.tables, self._rules, about, refusal)
        takes = [self.parameters, self.inputs, *more]
        inputs = {id_: self._argument(code, takes, ids[id_]) for id_ in program.inputs}
        for struct, key, id_, meaning in results:
            x: Any = program.outputs[id_]
            if key not in struct.members:
                struct.members[key] = Member(struct.new_name(key), meaning, tuple(x.shape), x.dtype, None, key)
            array = self._member(struct, key)
            if isinstance(x, Value) and x.shape and id(x) not in low.homes:
                low.homes[id(x)] = array
        try:
            low.run(program, inputs)
            code.remark("")
            for struct, key, id_, _ in results:
                array, target = low.array(program.outputs[id_]), self._member(struct, key)
                if array.dtype == BOOL and not array.shape:
                    array = computed((), BOOL, [], partial(self._truth, array))
                if array.storage is None or array.storage.buffer.name != struct.element(key):
                    low.copy(array, target)
        except Unwritable as error:
            raise InputError(f"{printable(str(error), 300)}; leave it out by --of and --wrt") from None
        return Function(name, code, takes, list({id(result.struct): result.struct for result in results}.values()))

    def _truth(self, x: Array, code: Code, at: Indices) -> Expr:
        return self.language.truth(x.at(code, at))

    def _argument(self, code: Code, structs: Sequence[Struct], key: str) -> Array:
        struct = next(struct for struct in structs if key in struct.members)
        member, text = struct.members[key], struct.element(key)
        if member.shape:
            return stored(Buffer(text, member.dtype, int(np.prod(member.shape))), member.shape)
        x = self.language.argument(Expr(text), member.dtype)
        return variable(member.dtype, code.local(x, member.dtype, member.reference).text)

    def _member(self, struct: Struct, key: str) -> Array:
        member, text = struct.members[key], struct.element(key)
        if member.shape:
            return stored(Buffer(text, member.dtype, int(np.prod(member.shape))), member.shape)
        return Array((), member.dtype, lambda code, at: Expr(text))
