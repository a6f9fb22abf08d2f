"""A reader of safetensors files in C, for weights that are no constants of the program.

It follows https://github.com/huggingface/safetensors#format. The file is in memory that the caller provides. Every
length and offset is compared with the size of that memory before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from circuitflow.document.tensors import FORMAT_OF_DTYPE
from circuitflow.engines.c.file import More
from circuitflow.engines.c.language import TYPES
from circuitflow.engines.flat.functions import Member, Struct
from circuitflow.errors import InputError

_TEXT = """\
/* a stretch of the header of a safetensors file */
typedef struct {
    const unsigned char *at, *end;
} @text;

/* whether a character comes next, after blanks; it is passed */
static inline bool @passes(@text *text, char expected)
{
    while (text->at < text->end
           && (*text->at == ' ' || *text->at == '\\t' || *text->at == '\\n' || *text->at == '\\r')) {
        text->at++;
    }
    if (text->at < text->end && *text->at == (unsigned char)expected) {
        text->at++;
        return true;
    }
    return false;
}

/* whether a string comes next; `inside` is what its quotes hold */
static inline bool @string(@text *text, @text *inside)
{
    if (!@passes(text, '"')) {
        return false;
    }
    inside->at = text->at;
    while (text->at < text->end && *text->at >= 32 && *text->at != '"') {
        if (*text->at == '\\\\') {
            text->at++;
            if (text->at == text->end) {
                return false;
            }
        }
        text->at++;
    }
    inside->end = text->at;
    return @passes(text, '"');
}

/* whether a whole number comes next */
static inline bool @whole(@text *text, uint64_t *x)
{
    bool any = false;
    *x = 0;
    @passes(text, ' ');
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        if (*x > (uint64_t)1 << 56) {
            return false;
        }
        *x = *x * 10 + (uint64_t)(*text->at - '0');
        text->at++;
        any = true;
    }
    return any;
}

/* whether a stretch is a word */
static inline bool @same(@text text, const char *word)
{
    while (text.at < text.end && *text.at == (unsigned char)*word) {
        text.at++;
        word++;
    }
    return text.at == text.end && *word == '\\0';
}

/* whether the entry of a tensor comes next: its dtype, whether its shape is that, and where its bytes begin and end */
static inline bool @entry(@text *text, const uint64_t *shape, int rank, @text *dtype, bool *fits, uint64_t place[2])
{
    int seen = 0;
    if (!@passes(text, '{')) {
        return false;
    }
    do {
        @text key;
        uint64_t x = 0;
        int bit, count = 0;
        if (!@string(text, &key) || !@passes(text, ':')) {
            return false;
        }
        bit = @same(key, "dtype") ? 1 : @same(key, "shape") ? 2 : @same(key, "data_offsets") ? 4 : 0;
        if (bit == 0 || (seen & bit) != 0) {
            return false;
        }
        seen |= bit;
        if (bit == 1) {
            if (!@string(text, dtype)) {
                return false;
            }
            continue;
        }
        if (!@passes(text, '[')) {
            return false;
        }
        if (bit == 2) {
            *fits = true;
        }
        if (!@passes(text, ']')) {
            do {
                if (!@whole(text, &x)) {
                    return false;
                }
                if (bit == 2) {
                    *fits = *fits && count < rank && shape[count] == x;
                } else if (count < 2) {
                    place[count] = x;
                } else {
                    return false;
                }
                count = count < 99 ? count + 1 : 99;
            } while (@passes(text, ','));
            if (!@passes(text, ']')) {
                return false;
            }
        }
        if (bit == 2) {
            *fits = *fits && count == rank;
        } else if (count != 2) {
            return false;
        }
    } while (@passes(text, ','));
    return seen == 7 && @passes(text, '}');
}

/* a number of some bytes, the last first */
static inline uint64_t @bits(const unsigned char *bytes, int width)
{
    uint64_t x = 0;
    for (int i = width - 1; i >= 0; i--) {
        x = x << 8 | bytes[i];
    }
    return x;
}

/* a float of 4 or 8 bytes */
static inline double @real(const unsigned char *bytes, int width)
{
    const uint64_t wide = @bits(bytes, width);
    const uint32_t narrow = (uint32_t)wide;
    double x;
    float y;
    if (width == 8) {
        memcpy(&x, &wide, sizeof x);
        return x;
    }
    memcpy(&y, &narrow, sizeof y);
    return (double)y;
}

/* 0, and where the numbers of a tensor lie and how many bytes one has; 1 where it is not there or another; -1 where the
   file is none */
static inline int @find(const unsigned char *bytes, uint64_t size, const char *name, const char *format, int width,
                        const uint64_t *shape, int rank, const unsigned char **numbers, int *found_width)
{
    @text text;
    uint64_t length, count = 1;
    bool there = false, fits = false;
    if (size < 8 || (length = @bits(bytes, 8)) > size - 8) {
        return -1;
    }
    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    text.at = bytes + 8;
    text.end = text.at + length;
    if (!@passes(&text, '{')) {
        return -1;
    }
    if (!@passes(&text, '}')) {
        do {
            @text key, dtype = {text.at, text.at};
            uint64_t place[2] = {0, 0};
            bool same = false;
            if (!@string(&text, &key) || !@passes(&text, ':')) {
                return -1;
            }
            if (@same(key, "__metadata__")) {
                if (!@passes(&text, '{')) {
                    return -1;
                }
                if (!@passes(&text, '}')) {
                    do {
                        if (!@string(&text, &key) || !@passes(&text, ':') || !@string(&text, &key)) {
                            return -1;
                        }
                    } while (@passes(&text, ','));
                    if (!@passes(&text, '}')) {
                        return -1;
                    }
                }
                continue;
            }
            if (!@entry(&text, shape, rank, &dtype, &same, place)) {
                return -1;
            }
            if (place[0] > place[1] || place[1] > size - 8 - length) {
                return -1;
            }
            if (@same(key, name)) {
                if (there) {
                    return -1;
                }
                there = true;
                *found_width = *format != 'F' ? width : @same(dtype, "F32") ? 4 : 8;
                fits = same && place[1] - place[0] == count * (uint64_t)*found_width
                    && (@same(dtype, format) || (*format == 'F' && (@same(dtype, "F32") || @same(dtype, "F64"))));
                *numbers = bytes + 8 + length + place[0];
            }
        } while (@passes(&text, ','));
        if (!@passes(&text, '}')) {
            return -1;
        }
    }
    @passes(&text, ' ');
    return text.at != text.end ? -1 : fits ? 0 : 1;
}"""


def reader(prefix: str, parameters: Struct, storage: str) -> More:
    """A function that fills the struct of parameters with the numbers of a file.

    Raises:
        InputError: there are no parameters.
    """
    if not parameters.members:
        raise InputError("weights beside a file need parameters, and the circuit has none; leave out --weights-beside")
    head = (f"{storage}int {prefix}_read_parameters(const unsigned char *bytes, uint64_t size, "
            f"{prefix}_parameters *parameters)")
    lines = [line for i, member in enumerate(parameters.members.values(), 1)
             for line in _member(prefix, i, member)]
    text = "\n".join([
        _TEXT.replace("@", f"{prefix}_"), "",
        "/* Fill in the parameters from a safetensors file, which is in memory whole. It returns 0; the number of the",
        "   parameter, from 1, that the file does not have in this shape and type; or -1 where it is no such file.",
        "   The parameters keep their numbers unless it returns 0. A file may have floats of 32 bits for those of 64,",
        "   and the other way round. */",
        head, "{", "    const unsigned char *at;", "    int width, status;",
        "    for (int pass = 0; pass < 2; pass++) {", *lines, "    }", "    return 0;", "}"])
    return More(text, [head], include="string.h")


def _member(prefix: str, number: int, member: Member) -> Iterator[str]:
    """Statements for one parameter: the first pass only looks whether it is there."""
    format_, shape = FORMAT_OF_DTYPE[member.dtype.name], [*member.shape]
    sizes = ", ".join(map(str, shape)) or "0"
    yield f"        static const uint64_t shape_{number}[{max(1, len(shape))}] = {{{sizes}}};"
    yield (f'        status = {prefix}_find(bytes, size, "{member.reference}", "{format_}", {member.dtype.itemsize}, '
           f"shape_{number}, {len(shape)}, &at, &width);")
    yield "        if (status != 0) {"
    yield f"            return status < 0 ? status : {number};"
    yield "        }"
    type_, place = TYPES[member.dtype.name], f"parameters->{member.name}{'[i]' if shape else ''}"
    value = f"{prefix}_{'real' if member.dtype.kind == 'f' else 'bits'}(at + i * (uint64_t)width, width)"
    value = f"{value} != 0" if member.dtype == bool else f"({type_}){value}"
    if math.prod(shape):  # compilers warn of a loop to 0
        yield f"        for (uint64_t i = 0; pass == 1 && i < {math.prod(shape)}; i++) {{"
        yield f"            {place} = {value};"
        yield "        }"
