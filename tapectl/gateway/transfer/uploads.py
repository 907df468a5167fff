"""Sealed segments go to the store: verified, compressed, encrypted, put, and named by a manifest.

Several at a time, of one tape or of many; but a tape's log grows in order of sequence only. A
segment counts as uploaded when a manifest names it, and only then the upload buffer lets go of it.
Cut off anywhere, the segments that no manifest names yet are put again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait

from tapectl.gateway.tape_keys import seal_of
from tapectl.gateway.transfer.bucket_layout import segment_key
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.local_files import LocalDisks, remove
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.gateway.transfer.object_options import segment_options
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.segment_files import SegmentBuffers, object_header
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.medium.manifest import ManifestRow
from tapectl.state import segments, tapes
from tapectl.state.segments import SegmentRecord
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import tapes_waiting_for_upload, waiting_of_tape
from tapectl.store.interface import StoreError

# A pass uploads this many segments a worker, so that the other steps get their turn: with the
# default sizes a quarter of a GiB each.
_SEGMENTS_A_WORKER = 4

UnderWay = list[tuple[SegmentRecord, "Future[int]"]]


class Uploads:
    """The step. `arrived_bytes` is the size of the segment files that have come to the store."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self.arrived_bytes = 0
        self._context = context
        self._errors = errors
        self._memory = threading.local()
        # Sizes of objects by barcode, epoch and sequence, that are in the store and not named yet,
        # because one before them has failed: only what is missing is put by the next pass.
        self._arrived: dict[tuple[str, int, int], int] = {}

    def run(self) -> StepReport:
        local = LocalDisks.read(self._context)
        under_way: dict[str, UnderWay] = {}
        reports: list[StepReport] = []
        outage: StoreError | None = None
        found = self._waiting()

        def start(tape: TapeRecord) -> StepReport:
            under_way[tape.barcode] = self._start(tape, found[tape], local)
            return StepReport()

        def finish(tape: TapeRecord) -> StepReport:
            return self._finish(tape, under_way[tape.barcode], local)

        for work in (start, finish):
            for tape in found:
                if work is finish and tape.barcode not in under_way:
                    continue
                try:
                    reports.append(self._errors.one(tape, work))
                except StoreError as error:
                    # What has been started must be finished before anything else is told.
                    outage = outage or error
                    if work is start:
                        break
        if outage is not None:
            raise outage
        return combine(reports)

    def _waiting(self) -> dict[TapeRecord, Sequence[SegmentRecord]]:
        """Return the next segments of each tape that has any, the longest waiting tape first.

        Every tape gets its share of a pass, those that are put off none of it.
        """
        budget = self._context.settings.upload_workers * _SEGMENTS_A_WORKER
        with self._context.state.read() as db:
            barcodes = tapes_waiting_for_upload(db)
            ready = [barcode for barcode in barcodes if not self._errors.put_off(barcode)]
            share = max(1, budget // max(1, len(ready)))
            chosen = frozenset(ready[:budget])
            return {
                tapes.get(db, barcode): waiting_of_tape(db, barcode, limit=share)
                for barcode in barcodes
                if barcode in chosen or self._errors.put_off(barcode)
            }

    def _start(
        self, tape: TapeRecord, records: Sequence[SegmentRecord], local: LocalDisks
    ) -> UnderWay:
        require_ownership(self._context.store, tape.barcode, tape.store_etag)
        pool = self._context.pool
        return [(record, pool.submit(self._upload, tape, record, local)) for record in records]

    def _upload(self, tape: TapeRecord, record: SegmentRecord, local: LocalDisks) -> int:
        """Put one segment and return the size of its object; runs in a thread of the pool."""
        self._context.check_stop()
        place = (tape.barcode, tape.store_epoch, record.sequence)
        if place in self._arrived:
            return self._arrived[place]
        header = object_header(tape.tape_uuid, tape.barcode, record.summary)
        seal = seal_of(self._context.state.path, tape, tape.store_epoch)
        buffers = self._buffers_of_thread()
        content = buffers.read_verified(local.sealed_files(record), header, record.summary)
        compression = self._context.settings.compression
        body = buffers.encode(content, header, compression=compression, seal=seal)
        self._context.check_stop()
        key = segment_key(tape.barcode, tape.store_epoch, record.sequence, len(body))
        put = self._context.store.put(key, body, options=segment_options(tape))
        self._arrived[place] = put.size_bytes
        return put.size_bytes

    def _buffers_of_thread(self) -> SegmentBuffers:
        buffers: SegmentBuffers | None = getattr(self._memory, "buffers", None)
        if buffers is None:
            buffers = self._memory.buffers = SegmentBuffers()
        return buffers

    def _finish(self, tape: TapeRecord, uploads: UnderWay, local: LocalDisks) -> StepReport:
        """Name what arrived up to the first failure, then raise that failure."""
        wait([future for _, future in uploads])
        arrived: list[tuple[SegmentRecord, int]] = []
        failure: BaseException | None = None
        for record, future in uploads:
            failure = future.exception()
            if failure is not None:
                break
            arrived.append((record, future.result()))
        if arrived:
            self._name(tape, arrived, local)
        if failure is not None:
            raise failure
        return StepReport(done=len(arrived))

    def _name(
        self, tape: TapeRecord, arrived: Sequence[tuple[SegmentRecord, int]], local: LocalDisks
    ) -> None:
        context = self._context
        added = [
            ManifestRow(record.summary, object_bytes, tape.store_epoch)
            for record, object_bytes in arrived
        ]
        put = put_manifest(context, tape.barcode, RecoveryPoint(added=added))
        with context.state.write() as db:
            tapes.update(db, tape.barcode, manifest_number=put.number)
            note_manifest(db, tape.barcode, put)
            for record, object_bytes in arrived:
                segments.mark_uploaded(
                    db,
                    tape.barcode,
                    record.sequence,
                    object_bytes=object_bytes,
                    now_ms=context.now_ms(),
                    epoch=tape.store_epoch,
                )
                segments.clear_buffer_disk(db, tape.barcode, record.sequence)
        self.arrived_bytes += sum(record.summary.file_bytes for record, _ in arrived)
        for record, _ in arrived:
            self._arrived.pop((tape.barcode, tape.store_epoch, record.sequence), None)
            remove(local.file(record.buffer_disk_id, tape.barcode, record.sequence, ".seg"))
