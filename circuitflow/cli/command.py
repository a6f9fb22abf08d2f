"""The base of all commands."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from circuitflow.errors import InputError
from circuitflow.text import duplicate, printable


class Command(TyperCommand):
    """A command that refuses a repeated option of one value, and a repeated ID of an option ID=VALUE."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        options = [parameter for parameter in order if parameter.param_type_name == "option"]
        for option, count in Counter(options).items():
            name = option.opts[0]
            if count > 1 and not (option.multiple or getattr(option, "is_flag", False)):
                raise InputError(f"{name} is given twice; it takes one value, so give it once")
            if option.multiple and "=" in (option.metavar or ""):
                twice = duplicate(value.partition("=")[0] for value in values[option.name])
                if twice is not None:
                    raise InputError(f"{name} {printable(twice, 60)}=… is given twice; give it once")
        return super().parse_args(ctx, args)
