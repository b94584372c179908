"""
Delivers what `delivery` rows ask for, until it arrived or a day is over.

The attempt is written down before it is made, with the time of the next one: a crash in the middle leads to one more
attempt later, never to none and never to a tight loop. So a revision may arrive twice; it carries its idempotency key.

    attempt        1     2     3     4    …    13    14 …
    then waits   1 s   2 s   4 s   8 s    …   1 h   1 h       or as long as Retry-After says, when that is longer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from diagnose.errors import NotFound, SinkError
from diagnose.model import Delivery, utc_now
from diagnose.notify.message import message_of
from diagnose.notify.sink import Sink
from diagnose.periodic import Periodic
from diagnose.store.db import Store
from diagnose.store.reports import DeliveryStatus, due_deliveries, get_report, save_delivery
from diagnose.telemetry import DELIVERIES, FAILURES, get_logger

log = get_logger(__name__)
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 3600.0
GIVE_UP_AFTER = timedelta(hours=24)
POLL_S = 1.0
SINKS_AT_ONCE = 16
MANY = 1000  # rows looked at in one go, so that one dead sink's do not hide another's


class Outbox:
    """
    One thread looks for due rows; each sink is served by one thread at a time, so a slow one delays no other.

    `wake` makes it look at once. What is unfinished at `stop` is found again at the next `start`.
    """

    def __init__(self, store: Store, sinks: Sequence[Sink], *, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._sinks = {sink.name: sink for sink in sinks}
        self._clock = clock
        self._pool = ThreadPoolExecutor(max_workers=SINKS_AT_ONCE, thread_name_prefix="sink")
        self._busy: dict[str, Future[None]] = {}
        self._thread = Periodic("outbox", self._dispatch, lambda: POLL_S)

    def use(self, sinks: Sequence[Sink]) -> None:
        """For the next attempts."""
        self._sinks = {sink.name: sink for sink in sinks}

    def start(self) -> None:
        self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Something new is due. Returns at once."""
        self._thread.wake()

    def stop(self) -> None:
        """Waits for the attempts being made right now."""
        self._thread.stop()
        self._pool.shutdown(wait=True)

    def deliver_due(self) -> None:
        """Make every attempt that is due now, and wait for them. For those who do not `start` it."""
        self._dispatch()
        for future in list(self._busy.values()):
            future.result()

    def _dispatch(self) -> None:
        """Give each sink that is not busy its due rows, oldest revision first."""
        by_sink: dict[str, list[Delivery]] = {}
        for delivery in due_deliveries(self._store, self._clock(), MANY):
            by_sink.setdefault(delivery.sink, []).append(delivery)
        for name, deliveries in by_sink.items():
            if name not in self._sinks:
                self._drop(deliveries)
            elif name not in self._busy or self._busy[name].done():
                ordered = sorted(deliveries, key=lambda each: (each.incident_id, each.revision))
                self._busy[name] = self._pool.submit(self._serve, self._sinks[name], ordered)

    def _drop(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._save(delivery, "dead", delivery.attempts, error=f"no sink {delivery.sink!r} in the settings")
            _tell(delivery, "dead")

    def _serve(self, sink: Sink, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if self._thread.stopping.is_set():
                return
            try:
                self._attempt(sink, delivery)
            except Exception:  # a mistake in a sink ends this attempt, not the outbox
                FAILURES.labels("deliver").inc()
                log.exception("delivery failed", sink=sink.name, incident=delivery.incident_id)
        self.wake()  # the next revision of an incident becomes due when the one before it has arrived

    def _attempt(self, sink: Sink, delivery: Delivery) -> None:
        attempts = delivery.attempts + 1
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(delivery.attempts, 20))
        self._save(delivery, "pending", attempts, wait_s=wait_s, error="the attempt did not finish")
        try:
            message = message_of(get_report(self._store, delivery.incident_id, revision=delivery.revision), delivery)
            external_ref = sink.deliver(message)
        except SinkError as err:
            self._failed(delivery, attempts, max(wait_s, err.retry_after_s or 0.0), err)
        except NotFound:
            self._failed(delivery, attempts, wait_s, SinkError("the report is gone", retryable=False))
        else:
            self._save(delivery, "delivered", attempts, delivered_at=self._clock(), external_ref=external_ref)
            _tell(delivery, "delivered", attempts=attempts)

    def _failed(self, delivery: Delivery, attempts: int, wait_s: float, err: SinkError) -> None:
        now = self._clock()
        late = now + timedelta(seconds=wait_s) > (delivery.created_at or now) + GIVE_UP_AFTER
        if late or not err.retryable:
            self._save(delivery, "dead", attempts, error=str(err))
            _tell(delivery, "dead", attempts=attempts, error=str(err))
            return
        self._save(delivery, "pending", attempts, wait_s=wait_s, error=str(err))
        DELIVERIES.labels(delivery.sink, "retried").inc()
        if attempts == 1:
            log.warning("delivery delayed", **_fields(delivery), error=str(err))

    def _save(
        self,
        delivery: Delivery,
        status: DeliveryStatus,
        attempts: int,
        *,
        error: str | None = None,
        wait_s: float | None = None,
        delivered_at: datetime | None = None,
        external_ref: str | None = None,
    ) -> None:
        save_delivery(
            self._store,
            delivery.delivery_id,
            status=status,
            attempts=attempts,
            last_error=error,
            next_attempt_at=None if wait_s is None else self._clock() + timedelta(seconds=wait_s),
            delivered_at=delivered_at,
            external_ref=external_ref or delivery.external_ref,
        )


def _tell(delivery: Delivery, outcome: str, **fields: object) -> None:
    """One line and one count when a delivery ends, one way or the other."""
    DELIVERIES.labels(delivery.sink, outcome).inc()
    say = log.info if outcome == "delivered" else log.error
    say("report delivered" if outcome == "delivered" else "delivery given up", **_fields(delivery), **fields)


def _fields(delivery: Delivery) -> dict[str, object]:
    return {"sink": delivery.sink, "incident": delivery.incident_id, "revision": delivery.revision}
