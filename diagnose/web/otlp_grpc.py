"""
OTLP over gRPC: the same decoders, slots and writer as over HTTP, on a listener of its own.

    stored                          OK, with partial_success when some could not be kept
    no time or room for it now      UNAVAILABLE with RetryInfo, which senders obey
    not OTLP, breaks the database   INVALID_ARGUMENT: final
    too large                       RESOURCE_EXHAUSTED without RetryInfo: final
    credentials                     UNAUTHENTICATED, PERMISSION_DENIED (metadata `authorization`, as the HTTP header)

Source: opentelemetry-proto, docs/specification.md, "OTLP/gRPC".
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import grpc

from diagnose.config import Settings, TlsServer
from diagnose.config.values import split_address
from diagnose.errors import ConfigError, DecodeError, Mistake, StoreBusy, Unstorable
from diagnose.receive.otlp import PROTOBUF, decode_metrics, decode_traces, encode_response
from diagnose.receive.proto.status_pb2 import RetryInfo, Status
from diagnose.store.metrics import MetricBatch, save_metrics
from diagnose.store.spans import SpanBatch, save_spans
from diagnose.telemetry import FAILURES, get_logger
from diagnose.web.context import INGEST_AT_ONCE, Context
from diagnose.web.security import Guard

log = get_logger(__name__)
Batch = TypeVar("Batch", SpanBatch, MetricBatch)
SERVICES = "opentelemetry.proto.collector"
THREADS = 2 * INGEST_AT_ONCE  # those at work, and as many that are told to come back
STOP_S = 5.0


class GrpcServer:
    """`start` binds and returns; `stop` lets running requests end."""

    def __init__(self, context: Context, settings: Settings, listen: str) -> None:
        self._listen = listen
        self._tls = settings.server.tls
        self._intake = _Intake(context, Guard(settings))
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", settings.ingest.max_body_bytes),
                ("grpc.so_reuseport", 0),  # or a second program could listen on the same port
            ],
        )
        self._server.add_generic_rpc_handlers(self._intake.handlers())

    def use(self, context: Context, settings: Settings) -> None:
        """Answer the next requests with other settings."""
        self._intake.context, self._intake.guard = context, Guard(settings)

    def start(self) -> None:
        """Raises ConfigError, which names the setting, when the address cannot be had."""
        host, port = split_address(self._listen)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = _credentials(self._tls)
        try:
            if credentials is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, credentials)
        except RuntimeError as err:
            raise ConfigError([Mistake("ingest.otlp_grpc", f"cannot listen on {self._listen}: {err}")]) from err
        self._server.start()

    def stop(self) -> None:
        """Calling it twice, or before `start`, is harmless."""
        self._server.stop(STOP_S).wait()


class _Intake:
    """What the two services do; `context` and `guard` may be replaced while it runs."""

    def __init__(self, context: Context, guard: Guard) -> None:
        self.context = context
        self.guard = guard

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Messages stay bytes: our decoders read them."""
        services = {"trace.v1.TraceService": self.traces, "metrics.v1.MetricsService": self.metrics}
        return tuple(
            grpc.method_handlers_generic_handler(
                f"{SERVICES}.{name}", {"Export": grpc.unary_unary_rpc_method_handler(export)}
            )
            for name, export in services.items()
        )

    def traces(self, body: bytes, call: grpc.ServicerContext) -> bytes:
        return self._take_in(body, call, decode_traces, save_spans, self.context.service.store.live_spans.check)

    def metrics(self, body: bytes, call: grpc.ServicerContext) -> bytes:
        return self._take_in(body, call, decode_metrics, save_metrics)

    def _take_in(
        self,
        body: bytes,
        call: grpc.ServicerContext,
        decode: Callable[..., Batch],
        save: Callable[[Any, Batch], bool],
        check: Callable[[], None] = lambda: None,
    ) -> bytes:
        self._check(call)
        context = self.context
        try:
            check()
            with context.ingest_slots.one():
                batch = decode(body, PROTOBUF, context.redactor, context.service.settings.ingest.decoder)
                save(context.service.store, batch)
        except StoreBusy as err:
            call.set_trailing_metadata((("grpc-status-details-bin", _retry_info(str(err), err.retry_after_s)),))
            call.abort(grpc.StatusCode.UNAVAILABLE, str(err))
        except (DecodeError, Unstorable) as err:
            log.warning("body refused", peer=call.peer(), reason=str(err))
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(err))
        except Exception as err:  # a mistake of ours; gRPC would show its text to the sender
            FAILURES.labels("web").inc()
            log.exception("request failed", method="grpc", error=repr(err))
            call.abort(grpc.StatusCode.INTERNAL, "an unexpected error; the log of the server has more")
        return encode_response(batch, PROTOBUF)

    def _check(self, call: grpc.ServicerContext) -> None:
        header = next((str(value) for key, value in call.invocation_metadata() if key == "authorization"), "")
        allowed = self.guard.allows(header, "ingest")
        if allowed is None:
            call.abort(grpc.StatusCode.UNAUTHENTICATED, "credentials are missing or wrong")
        if not allowed:
            call.abort(grpc.StatusCode.PERMISSION_DENIED, "the role ingest is lacking")


def _retry_info(message: str, after_s: int) -> bytes:
    wait = RetryInfo()
    wait.retry_delay.seconds = after_s
    status = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message=message)
    status.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=wait.SerializeToString())
    return status.SerializeToString()


def _credentials(tls: TlsServer) -> grpc.ServerCredentials | None:
    if tls.cert_file is None or tls.key_file is None:
        return None
    pair = (Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes())
    authority = Path(tls.client_ca_file).read_bytes() if tls.client_ca_file else None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
