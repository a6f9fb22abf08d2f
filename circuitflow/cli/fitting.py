"""What the options of `circuitflow fit` say, as a document: what they leave out is the document's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

import circuitflow as cf
from circuitflow.cli.arguments import assignment, split
from circuitflow.document.fit import Fit
from circuitflow.document.model import ParameterNode
from circuitflow.document.rewriting import with_fit
from circuitflow.errors import InputError
from circuitflow.fitting.methods import kind_of
from circuitflow.fitting.rerun import as_before
from circuitflow.text import listing, nearest, printable, short

OF_A_LOSS = ("reduction", "likelihood", "constraints", "starts")
"""Keys of a fit that go with a loss."""

OF_RESIDUALS = ("residuals", "sigma", "absolute_sigma")
"""Keys that go with residuals."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of a fit as they stand on the command line; None and empty lists where one is left out."""

    columns: list[str] = field(default_factory=list)
    residuals: str | None = None
    sigma: str | None = None
    sigma_column: str | None = None
    loss: str | None = None
    reduction: str | None = None
    constraints: list[str] = field(default_factory=list)
    method: str | None = None
    method_options: list[str] = field(default_factory=list)
    least: list[str] = field(default_factory=list)
    most: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    schedule: str | None = None
    schedule_options: list[str] = field(default_factory=list)
    validation: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, circuit: cf.Circuit) -> cf.Circuit:
        """The circuit as it was before a fit, with these settings in its document.

        Raises:
            DocumentError: with them, the document is not valid.
            InputError: an option cannot be read, or names what is not there.
        """
        circuit = as_before(circuit)
        starts = {name: value for name, value, _ in (assignment(x, "--start", circuit.limits) for x in self.start)}
        self._refuse_unknown(circuit, "--start", starts)
        document = circuit.with_values(starts).document if starts else circuit.document
        document = document.model_copy(update={"nodes": self._nodes(circuit, document)})
        return circuit.derived(with_fit(document, self._fit(circuit)))

    def _nodes(self, circuit: cf.Circuit, document: cf.Document) -> list[Any]:
        """The nodes, with other bounds; frozen and free."""
        updates: dict[str, dict[str, Any]] = {}
        for key, option, texts in (("min", "--min", self.least), ("max", "--max", self.most)):
            for text in texts:
                name, value, _ = assignment(text, option, circuit.limits)
                self._refuse_unknown(circuit, option, [name])
                updates.setdefault(name, {})[key] = value
        for option, texts, frozen in (("--freeze", self.freeze, True), ("--free", self.free, False)):
            for name in split(texts) or ():
                self._refuse_unknown(circuit, option, [name])
                if "frozen" in updates.setdefault(name, {}):
                    raise InputError(f"--freeze and --free both name '{name}'; give one")
                updates[name]["frozen"] = frozen
        nodes: list[Any] = []
        for node in document.nodes:
            if node.id in updates:
                fields = {key: getattr(node, key) for key in node.model_fields_set} | updates[node.id]
                fields = {key: value for key, value in fields.items() if (key, value) != ("frozen", False)}
                node = ParameterNode.model_construct(set(fields), **fields)
            nodes.append(node)
        return nodes

    @staticmethod
    def _refuse_unknown(circuit: cf.Circuit, option: str, names: Any) -> None:
        parameters = [node.id for node in circuit.document.nodes if isinstance(node, ParameterNode)]
        for name in names:
            if name not in parameters:
                raise InputError(f"{option}: there is no parameter '{printable(name, 60)}'"
                                 f"{nearest(name, parameters) or f'; there are {listing(parameters) or None}'}")

    def _fit(self, circuit: cf.Circuit) -> Fit:
        """The key `fit` of the document with these settings."""
        fit = circuit.document.fit
        entries: dict[str, Any] = {} if fit is None else fit.model_dump(mode="python", exclude_unset=True)
        if self.columns:
            entries["columns"] = {**entries.get("columns", {}), **dict(_pair(x, "--columns", "t=time") for x in
                                                                       self.columns)}
        if self.residuals is not None and self.loss is not None:
            raise InputError("--residuals and --loss exclude one another; give one")
        if self.sigma is not None and self.sigma_column is not None:
            raise InputError("--sigma and --sigma-column exclude one another; give one")
        if self.residuals is not None:
            entries = {key: x for key, x in entries.items() if key not in ("loss", *OF_A_LOSS)}
            entries["residuals"] = self.residuals
        if self.loss is not None:
            entries = {key: x for key, x in entries.items() if key not in OF_RESIDUALS} | {"loss": self.loss}
        if not entries.keys() & {"residuals", "loss"}:
            if len(circuit.outputs) != 1:
                raise InputError(f"the circuit has the outputs {listing(circuit.outputs)}; name the one to minimise "
                                 "by --residuals or --loss")
            kind = kind_of(self.method or (entries.get("method") or {}).get("name"))
            entries["loss" if kind == "a loss" else "residuals"] = next(iter(circuit.outputs))
        sigma = self.sigma if self.sigma_column is None else {"column": self.sigma_column}
        limits = dict(_pair(x, "--constraint", "c=nonnegative") for x in self.constraints)
        entries |= {key: value for key, value in {
            "reduction": self.reduction, "sigma": sigma, **self.numbers,
            "constraints": {**entries.get("constraints", {}), **limits} if limits else None,
            "method": _named(entries.get("method"), self.method, self.method_options, "--option",
                             "smooth" if "loss" in entries else "auto"),
            "schedule": _named(entries.get("schedule"), self.schedule, self.schedule_options, "--schedule-option"),
            "validation": None if self.validation is None else _validation(self.validation),
        }.items() if value is not None}
        try:
            return Fit.model_validate(entries)
        except ValidationError as error:
            first = error.errors()[0]
            path = [str(part) for part in first["loc"] if not str(part).startswith("<")]
            option = "--" + path[0].replace("_", "-").replace("constraints", "constraint")
            place = option if len(path) == 1 else f"{option} {printable(path[1], 60)}"
            raise InputError(f"{place}: {short(first['input'])} is not valid: {first['msg'][:1].lower()}"
                             f"{printable(first['msg'][1:])}") from None


def _named(stated: dict[str, Any] | None, name: str | None, options: list[str], option: str,
           default: str | None = None) -> dict[str, Any] | None:
    """A name with options, those of the document too where it has the same name."""
    if name is None and not options:
        return stated
    if name is None and stated is None:
        if default is None:
            raise InputError(f"{option} goes with --schedule; name the schedule")
        stated = {"name": default}
    more = {key: _json(text) for key, text in (_pair(x, option, "loss=huber") for x in options)}
    kept = stated if stated is not None and name in (None, stated["name"]) else {}
    return {**kept, **({"name": name} if name is not None else {}), **more}


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise InputError(f"{option} {printable(text, 60)}: expected {example.partition('=')[0]}=…, such as "
                         f"{option} {example}")
    return key, value


def _json(text: str) -> Any:
    """JSON, or else a word."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _validation(text: str) -> dict[str, Any]:
    """A fraction of the rows, or a file."""
    try:
        return {"fraction": float(text)}
    except ValueError:
        return {"file": text}
