"""Tapes are read and checked, all copies of all segments: by request, and by the scrub in turn.

One segment at a time, in a thread of its own, beside the passes: uploads do not wait for it. How
far a verification is stands in the state, so a new process goes on where the last one was.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tapectl.gateway.transfer.context import StepReport, StoppedError, TransferContext
from tapectl.gateway.transfer.segment_verifier import SegmentVerifier, Verdict
from tapectl.state import events, tapes, verifications
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import VERIFIABLE
from tapectl.state.verifications import Findings, VerificationRecord

_log = logging.getLogger(__name__)

SEGMENT_HEALED = "SegmentHealed"
SEGMENT_DAMAGED = "SegmentDamaged"
TAPE_VERIFIED = "TapeVerified"

_DAY_MS = 86_400_000
# Between two looks whether the segment in hand is done.
_LOOK_MS = 100


@dataclass(frozen=True, slots=True)
class _Job:
    verification: VerificationRecord
    segment: SegmentRecord
    begun_ms: int
    verdict: Future[Verdict | None]


class Verification:
    """The step."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._verifier = SegmentVerifier(context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verify")
        self._job: _Job | None = None
        # The rate asks for a pause until then.
        self._not_before_ms = 0

    def close(self) -> None:
        """Wait for the segment in hand, which ends early once the engine is to stop. What was
        found of it is not entered: whoever comes next looks at it again."""
        self._thread.shutdown(wait=True)

    def run(self) -> StepReport:
        report = StepReport()
        if self._job is not None:
            if not self._job.verdict.done():
                return self._later(_LOOK_MS)
            report = self._collect(self._job)
        now_ms = self._context.now_ms()
        if now_ms < self._not_before_ms:
            return StepReport(report.done, 1, self._not_before_ms)
        return self._begin() or report

    def _begin(self) -> StepReport | None:
        """Begin with the next segment; None if there is nothing to verify."""
        context = self._context
        while True:
            with context.state.read() as db:
                chosen = next(
                    (
                        one
                        for one in verifications.running(db)
                        if tapes.get(db, one.barcode).status in VERIFIABLE
                    ),
                    None,
                )
                segment = None if chosen is None else verifications.next_segment(db, chosen)
                tape = None if chosen is None else tapes.get(db, chosen.barcode)
            if chosen is None or tape is None:
                if not self._begin_scrub():
                    return None
            elif segment is None:
                self._finish(chosen)
            else:
                break
        verdict = self._thread.submit(
            self._verifier.verify, tape, segment, local_only=chosen.local_only
        )
        self._job = _Job(chosen, segment, context.now_ms(), verdict)
        return self._later(_LOOK_MS)

    def _begin_scrub(self) -> bool:
        """Enter the tape that has not been verified for longest; whether there is one due."""
        settings, now_ms = self._context.settings, self._context.now_ms()
        if not settings.scrub_days:
            return False
        with self._context.state.write() as db:
            barcode = verifications.due_for_scrub(
                db,
                before_ms=now_ms - round(settings.scrub_days * _DAY_MS),
                statuses=sorted(VERIFIABLE),
                local_only=not settings.scrub_store,
            )
            if barcode is None:
                return False
            verifications.begin(
                db,
                VerificationRecord(
                    barcode=barcode,
                    requested=False,
                    local_only=not settings.scrub_store,
                    rate_bytes_per_s=None,
                    started_at_ms=now_ms,
                ),
            )
        return True

    def _collect(self, job: _Job) -> StepReport:
        """Enter what was found of a segment; raise what the store said, if it was that."""
        self._job = None
        try:
            verdict = job.verdict.result()
        except StoppedError:
            return StepReport()
        if verdict is None:
            return StepReport(done=1)
        self._enter(job, verdict)
        rate = job.verification.rate_bytes_per_s or self._context.settings.verify_bytes_per_s
        self._not_before_ms = job.begun_ms + 1000 * verdict.checked_bytes // rate
        return StepReport(done=1)

    def _enter(self, job: _Job, verdict: Verdict) -> None:
        segment = job.segment
        findings = Findings(
            verdict.checked_bytes,
            len(verdict.healed),
            bool(verdict.damaged),
            verdict.lost,
            verdict.unread,
        )
        with self._context.state.write() as db:
            current = verifications.find_verification(db, segment.barcode)
            # Another one may have been asked for meanwhile.
            if current is None or current.started_at_ms != job.verification.started_at_ms:
                return
            verifications.advance(db, segment.barcode, segment.sequence, findings)
            stamp = self._context.stamp()
            for event_type, copies in (
                (SEGMENT_HEALED, verdict.healed),
                (SEGMENT_DAMAGED, verdict.damaged),
            ):
                if copies:
                    detail = {
                        "sequence": segment.sequence,
                        "copies": sorted(copies),
                        "lost": verdict.lost,
                    }
                    told = tapes.event_of(segment.barcode, stamp, event_type, detail)
                    events.append(db, told)

    def _finish(self, verification: VerificationRecord) -> None:
        with self._context.state.write() as db:
            verifications.finish(db, verification.barcode, now_ms=self._context.now_ms())
            detail = {
                "requested": verification.requested,
                "local_only": verification.local_only,
                "segments": verification.segment_count,
                "checked_bytes": verification.checked_bytes,
                "healed": verification.healed_count,
                "damaged": verification.damaged_count,
                "lost": verification.lost_count,
                "unread": verification.unread_count,
            }
            stamp = self._context.stamp()
            events.append(db, tapes.event_of(verification.barcode, stamp, TAPE_VERIFIED, detail))
        _log.info("tape %s is verified: %s", verification.barcode, detail)

    def _later(self, after_ms: int) -> StepReport:
        return StepReport(waiting=1, next_due_ms=self._context.now_ms() + after_ms)
