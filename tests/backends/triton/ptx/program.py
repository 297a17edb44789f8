"""PTX as the compiler writes it, read into instructions and blocks (PTX ISA, chapters 4 to 6).

A block ends where control may go elsewhere: at a jump, at a barrier, before a label. Registers of a
scope in braces, as inline assembly has them, get names of their own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

ENDS = ("bra", "brx", "ret", "bar.sync", "barrier.sync", "exit")
WIDTHS = {"b8": 1, "b16": 2, "b32": 4, "b64": 8, "pred": 0}


@dataclass(frozen=True)
class Register:
    name: str


@dataclass(frozen=True)
class Immediate:
    bits: int
    """Two's complement, or those of a float."""


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Place:
    """`[base + offset]`; no base is the beginning of shared memory."""

    base: Register | None
    offset: int = 0
    parameter: str = ""


@dataclass(frozen=True)
class Vector:
    parts: tuple[Operand, ...]


@dataclass(frozen=True)
class Both:
    """`p|q`, two results."""

    first: Register
    second: Register


Operand = Register | Immediate | Label | Place | Vector | Both


@dataclass(frozen=True)
class Instruction:
    """`guard` is the predicate that it is executed under, and whether turned around; `source` the
    line of Python that it comes from."""

    name: str
    operands: tuple[Operand, ...]
    guard: tuple[Register, bool] | None = None
    source: str = ""
    text: str = ""

    @property
    def ends(self) -> bool:
        return self.name.startswith(ENDS)


@dataclass
class Block:
    instructions: list[Instruction] = field(default_factory=list)


@dataclass(eq=False)
class Program:
    """A kernel: `parameters` are its names with bytes, `widths` the bytes of each register (0 for a
    predicate), `labels` the blocks that begin there, `tables` those of indexed jumps."""

    name: str = ""
    parameters: dict[str, int] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=lambda: [Block()])
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    threads: int = 0

    def every(self) -> Iterator[Instruction]:
        return (one for block in self.blocks for one in block.instructions)

    def address(self, parameter: str) -> int:
        """Where it lies, for a program that chooses between some of them."""
        return PARAMETER * (1 + list(self.parameters).index(parameter))

    def width(self, register: Register) -> int:
        """Registers with a number are declared by their stem: `%r<347>`."""
        name = register.name
        found = self.widths.get(name)
        if found is None:
            found = self.widths[name] = self.widths[name.rstrip("0123456789")]
        return found


# --- lines ------------------------------------------------------------------------------------


def read(text: str) -> Program:
    """The only kernel of a module. ValueError for what this does not know."""
    program = Program()
    body = _header(text, program)
    _Reader(program).read(body)
    program.blocks = [*program.blocks, Block()]  # where a label at the end leads to
    return program


def _header(text: str, program: Program) -> str:
    found = re.search(r"\.entry\s+(\w+)\((.*?)\)\s*(.*?)\{(.*)", text, re.DOTALL)
    if not found:
        raise ValueError("there is no kernel in this PTX")
    program.name, parameters, options, body = found.groups()
    for line in parameters.split("\n"):
        if said := re.match(r"\s*\.param \.[a-z](\d+)\b.*?(\w+),?$", line):
            program.parameters[said[2]] = int(said[1]) // 8
    if said := re.search(r"\.reqntid (\d+)", options):
        program.threads = int(said[1])
    return _body(body)


def _body(text: str) -> str:
    """Up to the brace that closes the kernel; debugging sections follow."""
    depth, at = 1, 0
    for found in re.finditer(r"//[^\n]*|[{}]", text):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            at = found.start()
            break
    return text[:at]


_TOKENS = re.compile(
    r"//(?P<comment>[^\n]*)"
    r"|\.loc\s+(?P<loc>[^\n]*)"
    r"|(?P<label>[$\w]+):(?!:)\s*(?:\.branchtargets(?P<table>[^;]*);)?"
    r"|\.reg\s+\.(?P<kind>\w+)\s+(?P<registers>[^;]*);"
    r"|\.pragma[^;]*;"
    r"|(?P<statement>(?:@!?%?\w+\s+)?[a-z][\w.:]*(?:\s[^;]*)?);"
    r"|(?P<brace>[{}])"
    r"|\s+"
)


class _Reader:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.source = ""
        self.scopes: list[dict[str, str]] = []
        self.count = 0

    def read(self, body: str) -> None:
        at = 0
        while at < len(body):
            found = _TOKENS.match(body, at)
            if not found:
                raise ValueError(f"unknown PTX: {body[at : at + 60]!r}")
            at = found.end()
            self._token(found)

    def _token(self, found: re.Match[str]) -> None:
        kind = found.lastgroup
        if kind == "loc":
            self.source = found["loc"].partition("//")[2].strip().partition(" ")[0]
        elif kind == "brace":
            self._scope(found["brace"])
        elif kind == "registers":
            self._declare(found["kind"], found["registers"])
        elif kind in ("label", "table"):
            self._label(found["label"], found["table"])
        elif kind == "statement":
            self._statement(" ".join(found["statement"].split()))

    def _scope(self, brace: str) -> None:
        if brace == "{":
            self.scopes.append({})
        else:
            self.scopes.pop()

    def _declare(self, kind: str, names: str) -> None:
        for name in (x.strip().partition("<")[0] for x in names.split(",")):
            own = name
            if self.scopes:
                own = self.scopes[-1][name] = f"{name}'{self.count}'"
                self.count += 1
            self.program.widths[own] = WIDTHS[re.sub("^[usf]", "b", kind)]

    def _label(self, name: str, table: str | None) -> None:
        if table is not None:
            self.program.tables[name] = tuple(x.strip() for x in table.split(","))
            return
        if self.program.blocks[-1].instructions:
            self.program.blocks.append(Block())
        self.program.labels[name] = len(self.program.blocks) - 1

    def _statement(self, text: str) -> None:
        said = re.fullmatch(r"(?:@(!?)(%?\w+)\s+)?(\S+)(?:\s+(.*))?", text)
        assert said
        turned, guard, name, rest = said.groups()
        under = (self._register(guard), turned == "!") if guard else None
        operands = tuple(map(self._operand, parts_of(rest or "")))
        made = Instruction(name, operands, under, self.source, text)
        self.program.blocks[-1].instructions.append(made)
        if made.ends:
            self.program.blocks.append(Block())

    def _register(self, name: str) -> Register:
        own = next((scope[name] for scope in reversed(self.scopes) if name in scope), name)
        return Register(own)

    def _operand(self, text: str) -> Operand:
        if text.startswith("{"):
            return Vector(tuple(map(self._operand, parts_of(text[1:-1]))))
        if text.startswith("["):
            return self._place(text[1:-1])
        if "|" in text:
            first, second = map(self._register, text.split("|"))
            return Both(first, second)
        if (number := immediate(text)) is not None:
            return Immediate(number)
        if text.startswith("$L"):
            return Label(text)
        base, _, offset = text.partition("+")
        if base in self.program.parameters:
            return Immediate(self.program.address(base))
        return Immediate(int(offset or "0")) if base == SHARED else self._register(text)

    def _place(self, text: str) -> Place:
        base, _, offset = (x.strip() for x in text.partition("+"))
        if base == SHARED:
            return Place(None, int(offset or "0", 0))
        if base in self.program.parameters:
            return Place(None, int(offset or "0", 0), base)
        return Place(self._register(base), int(offset or "0", 0))


PARAMETER = 64
"""Bytes from one parameter to the next."""
SHARED = "global_smem"
"""The symbol of Triton's shared memory, which begins at 0."""


def parts_of(text: str) -> Sequence[str]:
    """Operands, by the commas that are in no brackets."""
    return [x.strip() for x in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,])+", text) if x.strip()]


def immediate(text: str) -> int | None:
    """The bits of a number: `-1`, `0x10U`, `0f3F800000`, `0d...`; None if it is none."""
    if found := re.fullmatch(r"0[fd]([0-9A-Fa-f]+)", text):
        return int(found[1], 16)
    if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+)U?", text):
        return int(text.rstrip("U"), 0)
    return None


def float_bits(x: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", x))[0])
