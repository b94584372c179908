from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from diagnose.config import Settings, load_settings, parse_duration, parse_size
from diagnose.config.units import format_duration, format_size
from diagnose.errors import ConfigError

DATA = Path(__file__).parent / "data" / "config"


def written(folder: Path, text: str) -> Path:
    file = folder / "diagnose.yaml"
    file.write_text(text)
    return file


def loaded(folder: Path, text: str, **environ: str) -> Settings:
    return load_settings(written(folder, text), environ)


def mistakes(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, **environ)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_the_documented_file_is_read(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "am").write_text("s3cret\n")

    settings = loaded(tmp_path, (DATA / "diagnose.yaml").read_text())

    assert "s3cret" == settings.auth.tokens[0].token
    assert timedelta(days=30) == settings.store.retention.profiles
    assert 20 * 2**30 == settings.store.retention.max_bytes
    assert tmp_path / "data" == settings.store.path
    assert tmp_path / "reports" == settings.sinks[0].path
    assert None is settings.server.tls.cert_file


def test_every_mistake_is_listed_at_once_with_its_line(tmp_path):
    text = """\
server:
  listn: "127.0.0.1:9095"
  external_url: example.org
store:
  retention: {telemetry: 72}
targets:
  - {name: a, service: a, pprof: "http://{hots}:6060", networks: [10.0.0.1/8], match: {job: 8080}}
  - name: a
    source: static
rules:
  - matchers: ['a=~"*"', 'no matcher']
    capture: [cpu, goroutines]
    seconds: soon
sinks:
  - {type: file, name: out}
  - {type: pigeon, name: out}
  - {type: webhook, name: hook}
"""

    found = mistakes(tmp_path, text)

    assert found == [
        "server.listn (line 2): unknown setting; did you mean listen?",
        "server.external_url (line 3): 'example.org' is no URL; it starts with http:// or https:// and a host",
        "store.retention.telemetry (line 5): 72 is no duration; write it with units, such as 500ms, 10s, 1h30m or 3d",
        "targets.0.match.job (line 7): must be text; put it in quotes",
        "targets.0.pprof (line 7): unknown placeholder {hots}; there are {host}, {port}, {address}",
        "targets.0.networks.0 (line 7): '10.0.0.1/8' is no CIDR block such as 10.0.0.0/8: 10.0.0.1/8 has host bits set",
        "targets.1 (line 8): source static needs addresses",
        "targets.1.name (line 8): 'a' is used twice",
        "targets.1.service (line 8): is missing",
        "rules.0.matchers.0 (line 11): 'a=~\"*\"': '*' is no regular expression: nothing to repeat at position 0",
        "rules.0.matchers.1 (line 11): 'no matcher' is no matcher; write label=\"value\", or != =~ !~ in place of =",
        "rules.0.capture.1 (line 12): unknown profile kind 'goroutines'; did you mean goroutine?",
        "rules.0.seconds (line 13): must be a whole number",
        "sinks.0.path (line 15): is missing",
        "sinks.1.name (line 16): 'out' is used twice",
        "sinks.1 (line 16): type 'pigeon' is not one of 'file', 'webhook'",
        "sinks.2 (line 17): url or url_file is missing",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: {listen: '0.0.0.0:9095'}", "server.listen (line 1): 0.0.0.0:9095 can be reached from other machines"),
        ("server: {listen: ':9095'}", "can be reached from other machines"),
        ("server: {listen: '[::]:9095'}", "can be reached from other machines"),
        ("server: {listen: '127.0.0.1'}", "is no address; write host:port"),
        ("server: {listen: '127.0.0.1:99999'}", "is no address; write host:port"),
        ("listen: '127.0.0.1:9095'", "listen (line 1): unknown setting; did you mean server.listen?"),
        ("server: 3", "server (line 1): must be a map of settings"),
        ("- server", "(file) (line 1): the file must be a map of settings"),
        ("server: {listen", "(file) (line 1): not YAML: while parsing a flow mapping"),
        ("sql: {rows: 1, rows: 2}\nsql: {rows: 2}", "sql (line 2): given twice in the same map"),
        ("sql: &a {rows: *a}", "an alias refers to what it is part of"),
        ("sql: {rows: 0}", "sql.rows (line 1): should be greater than or equal to 1"),
        ("sql: {memory: much}", "'much' is no size"),
        ("targets: [{name: a, service: a}]", "match is missing; without it every discovered target would be profiled"),
        ("targets: [{name: a, service: a, match: {b: c}, addresses: ['h:1']}]", "with source: static only"),
        ("targets: [{name: a, service: a, source: static, addresses: ['h']}]", "'h' is no address; write host:port"),
        ("auth: {tokens: [{name: a, roles: [reed], token: x}]}", "auth.tokens.0.roles.0 (line 1)"),
        ("auth: {tokens: [{name: a, roles: [read]}]}", "auth.tokens.0 (line 1): token or token_file is missing"),
        ("auth: {tokens: [{name: a, roles: [read], token_file: gone}]}", "gone: No such file or directory"),
        ("auth: {tokens: [{name: a, roles: [read], token: x, token_file: no}]}", "give token or token_file, not both"),
        ("auth: {tokens: [{name: a, roles: [read], token: ''}]}", "auth.tokens.0.token (line 1): is empty"),
        ("auth: {basic: [{user: a, password_file: diagnose.yaml, roles: [x]}]}", "auth.basic.0.roles.0 (line 1)"),
        ("server: {tls: {cert_file: no.pem}}", "no such file"),
        ("server: {tls: {cert_file: no.pem}}", "cert_file and key_file belong together"),
        ("prometheus: [{url: 'http://u:p@h'}]", "credentials do not belong into a URL"),
        ("ingest: {redact: [{keys: ['(']}]}", "'(' is no regular expression"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, said):
    assert said in "\n".join(mistakes(tmp_path, text))


def test_a_missing_file_is_a_mistake_too(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.yaml", {})


def test_the_file_comes_from_the_environment_or_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings().sql == load_settings(None, {}).sql

    written(tmp_path, "sql: {rows: 7}")
    assert 7 == load_settings(None, {}).sql.rows

    other = tmp_path / "other"
    other.mkdir()
    written(other, "sql: {rows: 8}")
    settings = load_settings(None, {"DIAGNOSE_CONFIG": str(other / "diagnose.yaml")})
    assert (8, other / "data") == (settings.sql.rows, settings.store.path)


def test_an_empty_file_means_the_defaults(tmp_path):
    assert 10_000 == loaded(tmp_path, "").sql.rows
    assert 10_000 == loaded(tmp_path, "sql:\nprometheus:\n").sql.rows


def test_the_environment_overrides_the_file(tmp_path):
    settings = loaded(
        tmp_path,
        "sql: {rows: 7}\nprometheus: [{url: 'http://a:1'}]",
        DIAGNOSE_SQL__ROWS="9",
        DIAGNOSE_STORE__RETENTION__TELEMETRY="2h",
        DIAGNOSE_PROMETHEUS__0__URL="http://b:1/",
        DIAGNOSE_SERVER__HOSTS='["a.example"]',
        DIAGNOSE__TARGETS='[{"name": "a", "service": "a", "match": {"job": "a"}}]',
    )

    assert 9 == settings.sql.rows
    assert timedelta(hours=2) == settings.store.retention.telemetry
    assert "http://b:1" == settings.prometheus[0].url
    assert ["a.example"] == settings.server.hosts
    assert "a" == settings.targets[0].name


def test_names_kubernetes_injects_are_ignored(tmp_path):
    assert loaded(tmp_path, "", DIAGNOSE_SERVICE_HOST="10.0.0.1", DIAGNOSE_PORT_9095_TCP="tcp://x", OTHER__THING="1")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DIAGNOSE_SQL__ROW", "1", "$DIAGNOSE_SQL__ROW: unknown setting 'row' in sql; did you mean rows?"),
        ("DIAGNOSE_SEVER__LISTEN", "1", "unknown setting 'sever'; did you mean server?"),
        ("DIAGNOSE_SQL__ROWS", "many", "$DIAGNOSE_SQL__ROWS: must be a whole number"),
        ("DIAGNOSE_SERVER__HOSTS", "a", "lists and maps are given as JSON"),
        ("DIAGNOSE_SERVER__HOSTS", "[1]", "$DIAGNOSE_SERVER__HOSTS (0): must be text"),
        ("DIAGNOSE_PROMETHEUS__1__URL", "http://h", "prometheus has 0 entries in the file; '1' is none of them"),
        ("DIAGNOSE_SERVER__LISTEN__PORT", "1", "has no settings in it"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(tmp_path, name, value, said):
    assert said in "\n".join(mistakes(tmp_path, "", **{name: value}))


def test_links_follow_the_listener_unless_told(tmp_path):
    assert "http://127.0.0.1:9400" == loaded(tmp_path, "server: {listen: '127.0.0.1:9400'}").server.external_url
    both = "server: {listen: '127.0.0.1:9400', external_url: 'https://d.example/'}"
    assert "https://d.example" == loaded(tmp_path, both).server.external_url


def test_secrets_are_not_shown(tmp_path):
    settings = loaded(tmp_path, "auth: {tokens: [{name: am, token: s3cret, roles: [ingest]}]}")

    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("10s", timedelta(seconds=10)),
        ("1h30m", timedelta(minutes=90)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
        ("0", timedelta(0)),
        pytest.param(0, timedelta(0), id="a plain 0"),
    ],
)
def test_durations_are_written_as_in_prometheus(text, expected):
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["", "10", 11, "1m1h", "-1s", "1.5h", None, True, "99999999999y"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match=r"is no duration|too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("512MiB", 2**29), ("1.5GB", 1_500_000_000), ("1000", 1000), ("2 KiB", 2048)]
)
def test_sizes_have_binary_or_decimal_units(text, expected):
    assert expected == parse_size(text)


@pytest.mark.parametrize("text", ["", "MiB", "1m", -1, None, True, "1 MiBs"])
def test_other_texts_are_no_sizes(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_units_are_written_as_they_are_read():
    for text in ("1h30m", "3d", "500ms", "0", "1d2h"):
        assert text == format_duration(parse_duration(text))
    for text in ("20GiB", "1000", "512MiB"):
        assert text == format_size(parse_size(text))
