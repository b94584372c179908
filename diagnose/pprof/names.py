"""
What a Go symbol name and its file say: package, whose code it is, and which trace a label set belongs to.

Go writes symbols as `import/path.Function`, `import/path.(*Type).Method`, `import/path.Function[...]` for generics and
`import/path.Function.func1.2` for closures; dots in the last path element are `%2e`. Files are absolute paths, or with
`-trimpath` the import path followed by the file name; modules from outside carry `@version` in either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from diagnose.pprof.profile import Frame

# First path elements of the standard library (`go list std`, Go 1.20 to 1.27). A module of one's own may be called
# `log` or `index` too: then its file does not lie under GOROOT's src/ (see _is_std).
# fmt: off
STD_ROOTS = frozenset(
    {
        "archive", "arena", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database",
        "debug", "embed", "encoding", "errors", "expvar", "flag", "fmt", "go", "hash", "html", "image", "index",
        "internal", "io", "iter", "log", "maps", "math", "mime", "net", "os", "path", "plugin", "reflect",
        "regexp", "runtime", "simd", "slices", "sort", "strconv", "strings", "structs", "sync", "syscall",
        "testing", "text", "time", "unicode", "unique", "unsafe", "uuid", "vendor", "weak",
    }
)
# fmt: on
RUNTIME_PACKAGES = frozenset({"runtime", "internal/abi", "internal/bytealg", "internal/chacha8rand", "internal/cpu"})
RUNTIME_PREFIXES = ("internal/runtime/", "runtime/internal/")
# Functions of runtime/pprof that programs call around their own work; any other means a profile is being taken.
LABELLING = re.compile(r"runtime/pprof\.(Do|WithLabels|Labels|Label|ForLabels|SetGoroutineLabels|\(?\*?[lL]abel)\b")
PROFILER_PACKAGES = frozenset({"runtime/pprof", "net/http/pprof"})
_GENERATED = re.compile(r"^(?:type:|type\.|go:)\.?(?:\w+\.)?")

TRACE_KEYS = ("trace_id", "traceID", "traceId", "otel_trace_id", "otel_traceid", "trace id")
SPAN_KEYS = ("span_id", "spanID", "spanId", "otel_span_id", "profile_id", "span id", "local root span id")
_HEX = re.compile(r"[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[0-9]{1,20}")


class Origin(NamedTuple):
    """Whose code a function is. At most one of `is_std` and `is_own` is true; `is_runtime` implies `is_std`."""

    package: str
    is_std: bool
    is_runtime: bool
    is_own: bool


@lru_cache(maxsize=65536)
def package_of(function: str) -> str:
    """
    The import path in a Go symbol name; "" when there is none (assembly, C, no symbols).

        net/http.(*conn).serve                        net/http
        gopkg.in/yaml%2ev3.(*Decoder).Decode          gopkg.in/yaml.v3
        example.com/a/b.Map[...].func1                example.com/a/b
        main.serve.(*app).measure.func9               main
        type:.eq.example.com/a/b.Key                  example.com/a/b
        aeshashbody                                   (none)
    """
    if function.startswith(("[", "<")):
        return ""
    plain = _GENERATED.sub("", function).split("[", 1)[0].split("(", 1)[0]
    slash = plain.rfind("/") + 1
    dot = plain.find(".", slash)
    return unquote(plain[:dot]) if dot > 0 else ""


@lru_cache(maxsize=65536)
def origin_of(function: str, file: str = "") -> Origin:
    """
    Whose code *function* in *file* is.

    The program's own: not the standard library, not a module with `@version` in its path, not vendored. Package `main`
    is always the program's own. Without package and file (C code, no symbols) nothing is claimed.
    """
    package = package_of(function) or _package_of_assembly(file)
    is_std = _is_std(package, file)
    is_runtime = is_std and (package in RUNTIME_PACKAGES or package.startswith(RUNTIME_PREFIXES))
    is_own = bool(package) and not is_std and (package == "main" or not _is_dependency(package, file))
    return Origin(package, is_std, is_runtime, is_own)


def _package_of_assembly(file: str) -> str:
    """`aeshashbody` has no package; its file /usr/local/go/src/runtime/asm_amd64.s does: runtime."""
    if not file.endswith((".s", ".go")) or "/" not in file:
        return ""
    folder = file.rsplit("/", 1)[0]
    return folder.rsplit("/src/", 1)[-1] if folder.startswith("/") else folder


def _is_std(package: str, file: str) -> bool:
    if package.split("/", 1)[0] not in STD_ROOTS:
        return False
    absolute = file.startswith("/") or file[1:3] in (":/", ":\\")
    return not absolute or f"/src/{package}/" in file.replace("\\", "/")


def _is_dependency(package: str, file: str) -> bool:
    return "@" in file or "/vendor/" in file or package.startswith("vendor/") or "/vendor/" in package


def is_own(frame: Frame) -> bool:
    return origin_of(frame.function, frame.file).is_own


def is_runtime(frame: Frame) -> bool:
    return origin_of(frame.function, frame.file).is_runtime


def own_frame(frames: Iterable[Frame]) -> Frame | None:
    """
    The frame to name to a human, searching from the leaf: the first of the program's own packages; if there is none,
    the first outside the runtime; if there is none either, the leaf. None only for an empty stack.

        runtime.memmove, bytes.Clone, example.com/shop.(*Cart).add, main.main     → example.com/shop.(*Cart).add
        runtime.gopark, internal/poll.runtime_pollWait, net/http.(*conn).serve    → internal/poll.runtime_pollWait
    """
    leaf = fallback = None
    for frame in frames:
        origin = origin_of(frame.function, frame.file)
        if origin.is_own:
            return frame
        if leaf is None:
            leaf = frame
        if fallback is None and not origin.is_runtime:
            fallback = frame
    return fallback or leaf


def is_profiler_itself(frames: Iterable[Frame]) -> bool:
    """
    Whether a stack exists only because a profile was being taken: it runs through net/http/pprof or runtime/pprof.

    `runtime/pprof.Do` and the other labelling functions do not count: they surround the program's own work.
    """
    return any(is_profiler(frame.function) for frame in frames)


@lru_cache(maxsize=65536)
def is_profiler(function: str) -> bool:
    """Whether one function belongs to taking a profile."""
    return package_of(function) in PROFILER_PACKAGES and not LABELLING.match(function)


def trace_and_span(labels: Mapping[str, str]) -> tuple[str | None, str | None, dict[str, str]]:
    """
    (trace id, span id, the other labels). Ids are lower-case hex, 32 and 16 digits; None when absent.

    Reads the label names of OpenTelemetry, Pyroscope (`profile_id` is a span id) and DataDog (`span id`,
    `local root span id`: 64-bit decimal). A 64-bit trace id is padded with zeros on the left. What is not a valid id
    (wrong length, all zeros) stays an ordinary label, and so does a second name for an id already found.

        {"span id": "1311768467463790320", "route": "/buy"}  →  (None, "123456789abcdef0", {"route": "/buy"})
    """
    rest = dict(labels)
    return _take(rest, TRACE_KEYS, digits=32), _take(rest, SPAN_KEYS, digits=16), rest


def _take(labels: dict[str, str], keys: tuple[str, ...], *, digits: int) -> str | None:
    for key in keys:
        if key in labels:
            found = normalised_id(labels[key], digits=digits, decimal=" " in key)
            if found is not None:
                del labels[key]
                return found
    return None


def normalised_id(text: str, *, digits: int, decimal: bool) -> str | None:
    """*text* as an id of so many hex digits; None when it is none. With *decimal* a 64-bit number is one too."""
    if decimal and _DECIMAL.fullmatch(text) and int(text) < 2**64:
        text = f"{int(text):016x}"
    if len(text) not in (16, digits) or not _HEX.fullmatch(text) or not text.strip("0"):
        return None
    return text.lower().rjust(digits, "0")
