from __future__ import annotations

import subprocess

import pytest

from diagnose.pprof.codec import decode
from diagnose.pprof.names import STD_ROOTS, is_own, is_profiler_itself, origin_of, own_frame, package_of, trace_and_span
from diagnose.pprof.profile import Frame
from tests.pprof.conftest import GO_ENVIRONMENT
from tests.pprof.small import RECORDED, frames_of


@pytest.mark.parametrize(
    ("symbol", "package"),
    [
        ("main.main", "main"),
        ("main.serve.(*app).measure.func9", "main"),
        ("main.(*app).checkout-fm", "main"),
        ("main.glob..func1", "main"),
        ("main.init.0", "main"),
        ("net/http.(*conn).serve", "net/http"),
        ("net/http.HandlerFunc.ServeHTTP", "net/http"),
        ("example.com/shop/pricing.(*Matcher).match", "example.com/shop/pricing"),
        ("example.com/shapes/ring.(*Ring[go.shape.float64]).Push", "example.com/shapes/ring"),
        ("example.com/a.Map[go.shape.struct { example.com/b.X int }].func1", "example.com/a"),
        ("main.sumOf[...]", "main"),
        ("gopkg.in/yaml%2ev3.(*Decoder).Decode", "gopkg.in/yaml.v3"),
        ("type:.eq.example.com/a/b.Key", "example.com/a/b"),
        ("type..hash.main.key", "main"),
        ("vendor/golang.org/x/net/http2/hpack.(*Decoder).Write", "vendor/golang.org/x/net/http2/hpack"),
        ("aeshashbody", ""),
        ("malloc", ""),
        ("[libc.so.6]", ""),
        ("<unknown>", ""),
    ],
)
def test_the_package_is_read_from_the_symbol(symbol, package):
    assert package == package_of(symbol)


GOROOT = "/usr/local/go/src"
OWN, STD, RUNTIME, OTHER = "own", "std", "runtime", "other"


@pytest.mark.parametrize(
    ("function", "file", "whose"),
    [
        ("main.main", "/home/me/shop/main.go", OWN),
        ("main.main", "example.com/shop/main.go", OWN),
        ("main.main", "example.com/tool@v1.2.3/main.go", OWN),
        ("example.com/shop/pricing.(*Matcher).match", "/home/me/shop/pricing/matcher.go", OWN),
        ("example.com/shop/pricing.Map[...].func1", "example.com/shop/pricing/matcher.go", OWN),
        ("shop/internal/pricing.match", "shop/internal/pricing/matcher.go", OWN),
        ("log.Parse", "/home/me/log/parse.go", OWN),
        ("net/http.(*conn).serve", f"{GOROOT}/net/http/server.go", STD),
        ("net/http.(*conn).serve", "net/http/server.go", STD),
        ("vendor/golang.org/x/net/http2.f", f"{GOROOT}/vendor/golang.org/x/net/http2/f.go", STD),
        ("runtime/pprof.Do", f"{GOROOT}/runtime/pprof/runtime.go", STD),
        ("runtime.gopark", f"{GOROOT}/runtime/proc.go", RUNTIME),
        ("runtime.gopark", "runtime/proc.go", RUNTIME),
        ("internal/runtime/maps.(*Map).Get", "internal/runtime/maps/map.go", RUNTIME),
        ("internal/bytealg.IndexByte", "internal/bytealg/index_amd64.s", RUNTIME),
        ("aeshashbody", f"{GOROOT}/runtime/asm_amd64.s", RUNTIME),
        ("memeqbody", "internal/bytealg/equal_amd64.s", RUNTIME),
        ("runtime.gopark", "", RUNTIME),
        ("go.uber.org/zap.(*Logger).Info", "/home/me/go/pkg/mod/go.uber.org/zap@v1.27.0/logger.go", OTHER),
        ("go.uber.org/zap.(*Logger).Info", "go.uber.org/zap@v1.27.0/logger.go", OTHER),
        ("github.com/x/y.f", "/home/me/shop/vendor/github.com/x/y/f.go", OTHER),
        ("malloc", "/usr/src/malloc.c", OTHER),
        ("[libc.so.6]", "", OTHER),
        ("<unknown>", "", OTHER),
    ],
)
def test_whose_code_a_function_is(function, file, whose):
    origin = origin_of(function, file)

    assert (whose == OWN, whose in (STD, RUNTIME), whose == RUNTIME) == (
        origin.is_own,
        origin.is_std,
        origin.is_runtime,
    )


def test_every_package_of_the_standard_library_is_known():
    listed = subprocess.run(["go", "list", "std"], env=GO_ENVIRONMENT, capture_output=True, text=True, check=True)

    assert set() == {package.split("/")[0] for package in listed.stdout.split()} - STD_ROOTS


def test_the_programs_own_functions_are_found_in_a_trimmed_build(go_profiles):
    frames = {frame for sample in decode(go_profiles["cpu"].read_bytes()).samples for frame in sample.frames}
    packages = {package_of(frame.function) for frame in frames if is_own(frame)}

    assert {"main", "example.com/shapes/ring"} == packages


def test_only_package_main_is_the_recorded_services_own():
    frames = {frame for file in RECORDED for sample in decode(file.read_bytes()).samples for frame in sample.frames}

    assert {"main"} == {package_of(frame.function) for frame in frames if is_own(frame)}


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("main.main > main.work > runtime.memmove", "main.work"),
        ("net/http.(*conn).serve > internal/poll.runtime_pollWait > runtime.gopark", "internal/poll.runtime_pollWait"),
        ("runtime.gcBgMarkWorker > runtime.scanobject", "runtime.scanobject"),
    ],
)
def test_the_frame_to_name_is_the_first_own_one_from_the_leaf(path, named):
    frame = own_frame(frames_of(path))

    assert frame is not None
    assert named == frame.function


def test_an_empty_stack_has_no_frame_to_name():
    assert own_frame(()) is None


@pytest.mark.parametrize(
    ("path", "itself"),
    [
        ("net/http.(*conn).serve > net/http/pprof.Index > runtime/pprof.writeGoroutine", True),
        ("runtime/pprof.profileWriter > runtime/pprof.readProfile > runtime.notetsleepg", True),
        ("net/http/pprof.Profile > time.Sleep", True),
        ("main.main > runtime/pprof.Do > main.work", False),
        ("main.main > runtime/pprof.Do > runtime/pprof.SetGoroutineLabels", False),
        ("main.main > runtime/pprof.Do > runtime/pprof.WithLabels", False),
        ("main.main > main.work", False),
    ],
)
def test_samples_of_the_profiler_itself_are_recognised(path, itself):
    assert itself == is_profiler_itself(frames_of(path))


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("labels", "trace", "span", "rest"),
    [
        ({"trace_id": TRACE, "span_id": SPAN, "route": "/"}, TRACE, SPAN, {"route": "/"}),
        ({"traceID": TRACE.upper(), "spanID": SPAN.upper()}, TRACE, SPAN, {}),
        ({"otel_traceid": TRACE}, TRACE, None, {}),
        ({"profile_id": SPAN, "span_name": "x"}, None, SPAN, {"span_name": "x"}),
        ({"span id": "1311768467463790320"}, None, "123456789abcdef0", {}),
        ({"local root span id": "1"}, None, "0000000000000001", {}),
        ({"trace id": TRACE}, TRACE, None, {}),
        ({"trace id": "1311768467463790320"}, "0" * 16 + "123456789abcdef0", None, {}),
        ({"trace_id": "123456789abcdef0"}, "0" * 16 + "123456789abcdef0", None, {}),
        ({"trace_id": "0" * 32}, None, None, {"trace_id": "0" * 32}),
        ({"trace_id": "abc"}, None, None, {"trace_id": "abc"}),
        ({"span_id": "zz" * 8}, None, None, {"span_id": "zz" * 8}),
        ({"span id": str(2**64)}, None, None, {"span id": str(2**64)}),
        ({"trace_id": "bad", "traceID": TRACE}, TRACE, None, {"trace_id": "bad"}),
        ({}, None, None, {}),
    ],
)
def test_trace_and_span_are_found_under_every_known_label(labels, trace, span, rest):
    assert (trace, span, rest) == trace_and_span(labels)


def test_a_frame_without_a_file_is_judged_by_its_name():
    assert is_own(Frame("example.com/shop.f"))
    assert not is_own(Frame("strings.Builder"))
