from __future__ import annotations

import gzip
import zlib

import pytest

from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.profile import Frame, InvalidProfile, Profile, Sample, ValueType
from diagnose.pprof.proto import profile_pb2 as pb
from tests.pprof.conftest import KINDS
from tests.pprof.small import CPU, RECORDED, cpu_profile, generated, seeded


def message_of(profile: Profile) -> pb.Profile:
    return pb.Profile.FromString(gzip.decompress(encode(profile)))


def broken(change) -> bytes:
    message = message_of(cpu_profile({"main.main > main.work": 3, "main.main": 1}, labels={"route": "/buy"}))
    change(message)
    return gzip.compress(message.SerializeToString())


def _dangling_location(message):
    message.sample[0].location_id.append(99)


def _dangling_function(message):
    message.location[0].line[0].function_id = 99


def _no_function(message):
    message.location[0].line[0].function_id = 0


def _two_locations_with_one_id(message):
    message.location[1].id = message.location[0].id


def _location_zero(message):
    message.location[0].id = 0


def _string_outside(message):
    message.function[0].name = 10_000


def _negative_string(message):
    message.sample[0].label[0].key = -1


def _too_few_values(message):
    del message.sample[0].value[1:]


def _no_types(message):
    del message.sample_type[:]


def _repeated_types(message):
    message.sample_type[1].CopyFrom(message.sample_type[0])


def _first_string_not_empty(message):
    message.string_table[0] = b"x"


SOUND = encode(cpu_profile({"main.main": 1}))
BROKEN_BODIES = {
    "empty": b"",
    "text": b"Could not enable CPU profiling: cpu profiling already in use\n",
    "web page": b"<!DOCTYPE html><html></html>",
    "zeros": bytes(100),
    "gzip of nothing": gzip.compress(b""),
    "gzip of text": gzip.compress(b"hello"),
    "cut gzip": SOUND[: len(SOUND) // 2],
    "gzip without its last byte": SOUND[:-1],
    "gzip magic only": b"\x1f\x8b",
    "damaged gzip": SOUND[:30] + b"\x00\x00\x00" + SOUND[33:],
    "garbage after the gzip": SOUND + b"garbage",
    "wrong wire type": b"\x10\x05" + gzip.decompress(SOUND)[:3] + b"\x0f",
    "length beyond the end": b"\x0a\xff\xff\xff\x7f",
    "dangling location": broken(_dangling_location),
    "dangling function": broken(_dangling_function),
    "line without function": broken(_no_function),
    "two locations with one id": broken(_two_locations_with_one_id),
    "location with id 0": broken(_location_zero),
    "string index outside": broken(_string_outside),
    "negative string index": broken(_negative_string),
    "too few values": broken(_too_few_values),
    "no value types": broken(_no_types),
    "a value type twice": broken(_repeated_types),
    "string 0 not empty": broken(_first_string_not_empty),
}


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_a_broken_body_is_refused(body):
    with pytest.raises(DecodeError):
        decode(body)


def test_a_gzip_bomb_is_stopped_while_inflating():
    bomb = gzip.compress(bytes(64 * 1024 * 1024))

    with pytest.raises(DecodeError, match="inflates to more than 1000000 bytes"):
        decode(bomb, max_inflated_bytes=1_000_000)


def test_a_plain_body_above_the_limit_is_refused():
    with pytest.raises(DecodeError, match="larger than"):
        decode(gzip.decompress(SOUND), max_inflated_bytes=10)


def test_mutated_profiles_are_read_or_refused_but_never_crash():
    chance = seeded(1)
    plain = gzip.decompress(RECORDED[0].read_bytes())
    for _ in range(600):
        body = bytearray(plain if chance.random() < 0.8 else RECORDED[1].read_bytes())
        for _ in range(chance.randint(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            decode(bytes(body)).check_valid()
        except DecodeError:
            continue


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_writing_and_reading_gives_back_an_equal_profile(file):
    profile = decode(file.read_bytes())
    profile.check_valid()

    assert profile == decode(encode(profile))
    assert encode(profile) == encode(decode(encode(profile)))


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_shapes_survive_writing_and_reading(kind, go_profiles):
    profile = decode(go_profiles[kind].read_bytes())

    assert profile == decode(encode(profile))


def test_more_than_sixteen_thousand_samples_survive():
    profile = generated(20_000, functions=200)

    assert profile == decode(encode(profile))


def test_plain_and_many_membered_bodies_are_read():
    plain = gzip.decompress(SOUND)

    assert decode(SOUND) == decode(plain)
    assert decode(SOUND) == decode(gzip.compress(plain[:50]) + gzip.compress(plain[50:]))
    assert decode(SOUND) == decode(gzip.compress(zlib.decompress(zlib.compress(plain))))


def test_everything_a_profile_can_hold_survives():
    leaf = Frame("main.small", "main.go", 7, 5, inlined=True)
    profile = Profile(
        sample_types=(ValueType("alloc", "bytes"), ValueType("free", "bytes")),
        samples=(
            Sample((leaf, Frame("main.F[...].func1", "main.go", 9, 8)), (-5, 7), {"a": "é\n"}, {"bytes": -48}),
            Sample((), (1, 1)),
            Sample((Frame("[libc.so.6]"),), (2**62, -(2**62))),
        ),
        default_type="alloc",
        period_type=ValueType("space", "bytes"),
        period=524288,
        time_ns=1_700_000_000_000_000_000,
        duration_ns=5,
        binary="/bin/x",
        build_id="abc",
        comments=("one", "two"),
        doc_url="https://example.com",
        drop_frames="a.*",
        keep_frames="b.*",
        number_units={"bytes": "bytes"},
    )

    assert profile == decode(encode(profile))
    assert 0 == profile.value_index()


def test_ids_with_gaps_and_unknown_mappings_are_fine():
    message = message_of(cpu_profile({"main.main > main.work": 3}))
    for location in message.location:
        location.id = location.id * 1_000_003
        location.mapping_id = 77
    message.sample[0].location_id[:] = [at * 1_000_003 for at in message.sample[0].location_id]
    for function in message.function:
        function.id += 2**40
    for location in message.location:
        location.line[0].function_id += 2**40

    profile = decode(message.SerializeToString())

    assert ["main.work", "main.main"] == [frame.function for frame in profile.samples[0].frames]


def test_a_location_without_symbols_is_named_after_its_binary():
    message = message_of(cpu_profile({"main.main": 3}))
    message.string_table.append(b"/usr/lib/libc.so.6")
    message.mapping.add(id=9, filename=len(message.string_table) - 1)
    message.location.add(id=50, mapping_id=9, address=0x7F00)
    message.location.add(id=51, address=0x7F00)
    message.sample[0].location_id.insert(0, 50)
    message.sample[0].location_id.insert(0, 51)

    assert ["<unknown>", "[libc.so.6]", "main.main"] == [
        frame.function for frame in decode(message.SerializeToString()).samples[0].frames
    ]


def test_bytes_that_are_no_text_do_not_spoil_the_profile():
    message = message_of(cpu_profile({"main.main": 3}, labels={"user": "x"}))
    message.string_table[list(message.string_table).index(b"x")] = b"\xff\xfe"

    assert "��" == decode(message.SerializeToString()).samples[0].labels["user"]


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        (Profile(()), "needs at least one value type"),
        (Profile((CPU[0], CPU[0])), "repeat"),
        (Profile(CPU, (Sample((), (1,)),)), "1 values for 2"),
        (Profile(CPU, (Sample((Frame("main.f", inlined=True),), (1, 1)),)), "cannot be inlined"),
        (Profile(CPU, (Sample((Frame(""),), (1, 1)),)), "without a name"),
    ],
)
def test_an_invalid_profile_is_not_written(profile, reason):
    with pytest.raises(InvalidProfile, match=reason):
        encode(profile)
