from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from diagnose.config import Settings
from diagnose.errors import NotFound, StacksUnknown, StoreBusy
from diagnose.model import from_unix_ns
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.kinds import guess_kind
from diagnose.pprof.pool import ParserPool
from diagnose.pprof.profile import Profile, Sample
from diagnose.pprof.wall import combine
from diagnose.store.bodies import save_body
from diagnose.store.db import Store
from diagnose.store.profiles import (
    StoredProfile,
    find_profiles,
    get_profile,
    import_profile,
    profile_body,
    read_and_import,
    save_profile,
)
from diagnose.store.retention import Retention
from diagnose.store.segments import Segments
from tests.pprof.small import CPU, RECORDED, cpu_profile, frames_of, goroutines

CPU_FILE = next(file for file in RECORDED if file.name == "cpu-profile.pb.gz")
DICTIONARIES = ("function", "frame", "node", "stack")


def save(
    store: Store, profile: Profile, body: bytes | None = None, *, instance: str = "checkout-1", **more
) -> StoredProfile:
    given = {"service": "checkout", "kind": guess_kind(profile), "basis": "interval"} | more
    return save_profile(store, profile, encode(profile) if body is None else body, instance=instance, **given)


def counts(store: Store) -> dict[str, int]:
    return {
        table: store.row(f"SELECT count(*) AS n FROM {table}")["n"]  # noqa: S608  our own tables
        for table in (*DICTIONARIES, "sample", "profile")
    }


def test_the_same_content_again_changes_nothing_and_gives_the_same_id(store):
    body = CPU_FILE.read_bytes()
    first = save(store, decode(body), body)
    before = counts(store)
    again = save(store, decode(body), body)

    assert (first.profile_id, True, False) == (again.profile_id, again.duplicate, first.duplicate)
    assert before == counts(store)
    assert first.profile_id.startswith("cpu-")


def test_the_same_bytes_of_another_process_or_basis_are_another_profile(store):
    profile = cpu_profile({"main.main": 3})
    stored = [save(store, profile), save(store, profile, instance="checkout-2"), save(store, profile, basis="snapshot")]

    assert 3 == len({each.profile_id for each in stored})
    assert [False] * 3 == [each.duplicate for each in stored]
    assert (1, 1, 1, 1) == tuple(counts(store)[table] for table in DICTIONARIES)


def test_dictionaries_hold_everything_once_and_are_found_again_after_a_restart(tmp_path):
    with Store.open(tmp_path / "data") as store:
        for file in RECORDED[:6]:
            save(store, decode(file.read_bytes()), file.read_bytes())
    with Store.open(tmp_path / "data") as store:
        for file in RECORDED:
            save(store, decode(file.read_bytes()), file.read_bytes())
        for table in DICTIONARIES:
            row = store.row(
                f"SELECT count(*) AS n, count(DISTINCT {table}_no) AS numbers, count(DISTINCT {table}_id) AS ids, "  # noqa: S608
                f"min({table}_no) AS least, max({table}_no) AS most FROM {table}"
            )

            assert (row["n"], row["n"], 1, row["n"]) == (row["numbers"], row["ids"], row["least"], row["most"])


def test_a_job_that_is_rolled_back_leaves_no_numbers_behind(store):
    profile = cpu_profile({"main.main > main.work": 1})
    with pytest.raises(ZeroDivisionError):
        store.telemetry.run(
            lambda cursor: (cursor.execute("INSERT INTO function SELECT 1, 1, '', '', 0, '', 0, 0, 0"), 1 / 0)
        )
    save(store, profile)

    assert {"function": 2, "frame": 2, "node": 2, "stack": 1, "sample": 1, "profile": 1} == counts(store)


WEIGHTS = """
SELECT weight_no, stack_no, value * coalesce(weight_units[weight_no % 64 + 1], 1) AS value, observations
FROM weight JOIN profile ON profile_no = weight_no // 64 ORDER BY ALL
"""
ADDED_UP = """
SELECT weight_no(profile_no, place) AS weight_no, stack_no, sum(value) AS value, sum(observations) AS observations
FROM (
  SELECT
    profile_no, stack_no, unnest("values") AS value, unnest(observations) AS observations,
    generate_subscripts("values", 1) AS place
  FROM sample
) GROUP BY ALL HAVING sum(value) <> 0 OR sum(observations) <> 0 ORDER BY ALL
"""


def assert_added_up(store: Store) -> None:
    weights, expected = store.rows(WEIGHTS), store.rows(ADDED_UP)

    assert [tuple(row.values())[:3] for row in expected] == [tuple(row.values())[:3] for row in weights]
    assert [row["observations"] for row in expected] == pytest.approx([row["observations"] for row in weights])


def test_weights_are_the_samples_added_up_by_value_type_and_stack(store):
    for file in RECORDED:
        save(store, decode(file.read_bytes()), file.read_bytes())

    assert_added_up(store)


BACK_TO_VERSION_3 = """
USE telemetry;
CREATE TABLE as_maps AS SELECT * REPLACE (
  from_json(labels, '"MAP(VARCHAR, VARCHAR)"') AS labels, from_json(numbers, '"MAP(VARCHAR, BIGINT)"') AS numbers
) FROM live_sample;
DROP TABLE live_sample;
ALTER TABLE as_maps RENAME TO live_sample;
DROP TABLE weight;
ALTER TABLE profile DROP COLUMN weight_units;
ALTER TABLE profile ADD COLUMN body BLOB;
UPDATE profile SET body = (SELECT content FROM read_blob($files) WHERE contains(filename, profile.sha256));
DELETE FROM schema_version WHERE version > 3;
"""


def test_data_of_version_3_becomes_what_it_is_now_wherever_it_is(tmp_path):
    """Without weights, labels in maps, bodies in the table, and the paths of the segments as they were."""
    with Store.open(tmp_path / "data") as store:
        stored = save(store, decode(CPU_FILE.read_bytes()), CPU_FILE.read_bytes())
        Segments(store).move()
        save(store, labelled(1))
        cursor = store.cursor()
        files = [str(file) for file in (tmp_path / "data" / "profiles").glob("*/*")]
        for statement in BACK_TO_VERSION_3.split(";\n"):
            cursor.execute(statement, {"files": files} if "$files" in statement else None)
        cursor.close()
    shutil.rmtree(tmp_path / "data" / "profiles")
    (tmp_path / "data").rename(tmp_path / "moved")
    with Store.open(tmp_path / "moved") as store:
        assert_added_up(store)
        assert 2 == store.row("SELECT count(DISTINCT weight_no // 64) AS profiles FROM weight")["profiles"]
        assert CPU_FILE.read_bytes() == profile_body(store, stored.profile_id)
        assert [LABELS] == [row["labels"] for row in store.rows("SELECT labels FROM sample WHERE profile_no = 2")]


LABELS = {"route": "/buy", 'a "key"\n': "null \0, 😀 and \\", "": "x" * 100_000, "n": "{}"}
NUMBERS = {"most": 2**63 - 1, "least": -(2**63)}


def labelled(count: int) -> Profile:
    return Profile(CPU, (Sample(frames_of("main.main"), (count, count), LABELS, NUMBERS),))


def test_labels_and_numbers_are_the_same_before_and_after_they_moved_into_a_file(store):
    save(store, labelled(1))
    Segments(store).move()
    save(store, labelled(2))
    rows = store.rows("SELECT labels, numbers FROM sample ORDER BY profile_no")

    assert [{"labels": LABELS, "numbers": NUMBERS}] * 2 == rows


def test_the_body_is_kept_as_it_came_or_gzipped(store):
    gzipped = encode(cpu_profile({"main.a": 1}))
    plain = gzip.decompress(encode(cpu_profile({"main.b": 1})))
    ids = [save(store, decode(body), body).profile_id for body in (gzipped, plain)]

    assert (gzipped, plain) == (profile_body(store, ids[0]), gzip.decompress(profile_body(store, ids[1])))


def test_the_same_bytes_are_one_file_whoever_sent_them(store):
    profile = cpu_profile({"main.main": 3})
    ids = [save(store, profile, instance=name).profile_id for name in ("checkout-1", "checkout-2")]

    assert [encode(profile)] * 2 == [profile_body(store, each) for each in ids]
    assert 1 == len(files_of(store))


def files_of(store: Store) -> list[Path]:
    return [file for file in (store.path / "profiles").rglob("*") if file.is_file()]


def test_a_profile_whose_file_cannot_be_written_is_not_stored_and_may_be_sent_again(store):
    (store.path / "profiles").write_text("no folder")
    with pytest.raises(StoreBusy, match="cannot be written"):
        save(store, cpu_profile({"main.main": 3}))

    assert {0} == set(counts(store).values())

    (store.path / "profiles").unlink()
    assert not save(store, cpu_profile({"main.main": 3})).duplicate


def test_a_file_that_is_gone_is_not_found(store):
    stored = save(store, cpu_profile({"main.main": 3}))
    files_of(store)[0].unlink()
    with pytest.raises(NotFound, match="No such file"):
        profile_body(store, stored.profile_id)


def test_files_that_no_profile_names_go_when_they_are_old(store):
    """What a crash left between the file and its row; one that is found there again is as good as new."""
    named, found_again = cpu_profile({"main.named": 1}), cpu_profile({"main.again": 1})
    save(store, named)
    for body in (b"left", encode(found_again)):
        save_body(store.path, sha256(body).hexdigest(), body)
    for file in files_of(store):
        os.utime(file, (0, 0))
    save_body(store.path, sha256(b"young").hexdigest(), b"young")
    save(store, found_again)
    Retention(store, Segments(store), Settings().store.retention).run()

    assert {encode(named), encode(found_again), b"young"} == {file.read_bytes() for file in files_of(store)}


def test_goroutines_that_have_not_run_yet_are_kept(store):
    snapshot = goroutines({"": 7, "main.main > main.wait": 2})
    wall = combine([(1_000_000_000, snapshot), (2_000_000_000, snapshot)]).profile
    ids = {kind: save(store, each, kind=kind).profile_id for kind, each in (("goroutine", snapshot), ("wall", wall))}
    rows = store.rows(
        "SELECT value, labels, leaf_function, own_function, functions FROM profile_samples "
        "WHERE profile_id = $id AND value_type = 'samples' ORDER BY value",
        {"id": ids["wall"]},
    )

    assert [
        (4, {"state": "running"}, "main.wait", "main.wait", ["main.main", "main.wait"]),
        (14, {"state": "runnable"}, None, None, []),
    ] == [tuple(row.values()) for row in rows]
    assert (
        9
        == store.row("SELECT sum(value) AS n FROM profile_samples WHERE profile_id = $id", {"id": ids["goroutine"]})[
            "n"
        ]
    )


def test_an_empty_profile_is_a_profile(store):
    stored = save(store, cpu_profile({}))

    assert 0 == get_profile(store, stored.profile_id)["sample_count"]


def test_a_profile_knows_about_itself(store):
    profile = replace(cpu_profile({"main.main": 3}, seconds=2), time_ns=1_795_478_454_000_000_000, build_id="9f3c")
    found = get_profile(store, save(store, profile, capture_id="cap-1", labels={"env": "test"}).profile_id)

    assert ("cap-1", "checkout", "checkout-1", "cpu", "interval", "9f3c", "cpu", {"env": "test"}) == tuple(
        found[name]
        for name in (
            "capture_id",
            "service_name",
            "service_instance_id",
            "kind",
            "basis",
            "build_id",
            "default_value_type",
            "labels",
        )
    )
    assert (from_unix_ns(profile.time_ns), 2_000_000_000, 1) == (
        found["started_at"],
        found["duration_ns"],
        found["sample_count"],
    )


def test_profiles_are_found_by_process_kind_time_and_labels(store):
    start_ns = 1_795_478_454_000_000_000
    start = from_unix_ns(start_ns)
    for minute in range(3):
        profile = replace(cpu_profile({"main.main": minute + 1}), time_ns=start_ns + minute * 60_000_000_000)
        save(store, profile, instance=f"checkout-{minute}", labels={"minute": str(minute), "env": "test"})

    def minutes(**wanted) -> list[str]:
        return [each["labels"]["minute"] for each in find_profiles(store, **wanted)]

    assert ["2", "1", "0"] == minutes()
    assert ["2", "1"] == minutes(service="checkout", limit=2)
    assert ["1"] == minutes(instance="checkout-1", kind="cpu")
    assert [] == minutes(kind="heap")
    assert ["1"] == minutes(since=start + timedelta(seconds=1), until=start + timedelta(minutes=2))
    assert ["0"] == minutes(labels={"minute": "0", "env": "test"})
    assert [] == minutes(labels={"minute": "0", "env": "other"})


def test_asking_for_a_profile_that_is_not_there(store):
    for ask in (get_profile, profile_body):
        with pytest.raises(NotFound):
            ask(store, "cpu-0")


TOP = "SELECT function, flat, cum FROM top_functions($id) ORDER BY function"
NAMED = "SELECT stack_id, leaf_function, own_function, is_profiler, functions, labels FROM profile_samples ORDER BY ALL"


def test_what_a_child_leaves_out_is_stored_all_the_same(tmp_path):
    bodies = [file.read_bytes() for file in RECORDED]
    with ParserPool(1) as pool, Store.open(tmp_path / "whole") as whole, Store.open(tmp_path / "parts") as parts:
        for instance in ("checkout-1", "checkout-2"):  # the second time there is nothing new
            given = {"service": "checkout", "instance": instance, "kind": None, "labels": {}}
            for body in bodies:
                stored = import_profile(whole, pool.parse(body), body, **given)

                assert stored == read_and_import(parts, pool, body, **given)
                assert whole.rows(TOP, {"id": stored.profile_id}) == parts.rows(TOP, {"id": stored.profile_id})
        assert whole.rows(NAMED) == parts.rows(NAMED)


def test_stacks_that_never_got_into_the_store_are_read_again(tmp_path):
    given = {"service": "checkout", "instance": "", "kind": None, "labels": {}}
    body = CPU_FILE.read_bytes()
    with ParserPool(1) as pool:
        told = pool.parse(body, whole=False)
        left_out = pool.parse(body, whole=False)
        with Store.open(tmp_path / "data") as store:
            with pytest.raises(StacksUnknown):
                import_profile(store, left_out, body, **given)

            assert {0} == set(counts(store).values())

            stored = read_and_import(store, pool, body, **given)

            assert not stored.duplicate
            assert counts(store)["stack"] == told.columns.stacks.num_rows == left_out.columns.stacks["nodes"].null_count
            assert told.totals == left_out.totals
