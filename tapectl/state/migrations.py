"""The schema of the state file, as an append-only list of steps, and their runner.

A shipped step is never edited. The comments in the SQL are kept by SQLite with
each table (`sqlite3 tapectl.db .schema`) and are the reference of every column.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

APPLICATION_ID = 0x74_61_70_65
"""PRAGMA application_id of a state file: "tape" in ASCII."""

MIGRATIONS: tuple[str, ...] = (
    # 1: gateway, disks, tapes and their segments, events, CHAP.
    """
CREATE TABLE gateway (
    -- The gateway this state file belongs to: one row, written by activation.
    singleton            INTEGER PRIMARY KEY CHECK (singleton = 1),
    id                   TEXT NOT NULL CHECK (id GLOB 'sgw-????????'), -- 8 hex digits, upper case
    name                 TEXT NOT NULL CHECK (length(name) BETWEEN 2 AND 255),
    timezone             TEXT NOT NULL,           -- GMT, GMT-hr:mm or GMT+hr:mm
    region               TEXT,                    -- of the bucket; NULL: as boto3 finds it
    store_url            TEXT NOT NULL,           -- s3://bucket/prefix or file:///path
    endpoint_url         TEXT,                    -- S3-compatible server; NULL: Amazon
    profile              TEXT,                    -- of the AWS credentials; NULL: the default chain
    changer_type         TEXT NOT NULL,           -- key of scsi.personality.CHANGER_PERSONALITIES
    drive_type           TEXT NOT NULL,           -- key of scsi.personality.DRIVE_PERSONALITIES
    drive_count          INTEGER NOT NULL CHECK (drive_count BETWEEN 1 AND 64),
    slot_count           INTEGER NOT NULL CHECK (slot_count BETWEEN 1 AND 10000),
    import_export_count  INTEGER NOT NULL CHECK (import_export_count BETWEEN 1 AND 10000),
    iqn_prefix           TEXT NOT NULL,           -- target names are <prefix>:<id>-<device>
    -- + 2 digits a device
    device_serial_base   TEXT NOT NULL CHECK (length(device_serial_base) = 8),
    created_at_ms        INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    -- Values that outlive a process and belong to no other table.
    key    TEXT PRIMARY KEY,
    value  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE disk (
    -- A directory allocated as cache or as upload buffer.
    id             TEXT PRIMARY KEY,     -- disk-<8 hex>; the same in <path>/tapectl-disk.json
    role           TEXT NOT NULL CHECK (role IN ('UPLOAD_BUFFER', 'CACHE_STORAGE')),
    path           TEXT NOT NULL UNIQUE, -- absolute, no symbolic links
    device_node    TEXT,                 -- block device we made a file system on; NULL: a directory
    size_bytes     INTEGER NOT NULL CHECK (size_bytes > 0), -- room segments may take
    created_at_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE pool (
    -- Where an archived tape goes. Built in: GLACIER and DEEP_ARCHIVE.
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    storage_class  TEXT NOT NULL CHECK (storage_class IN ('GLACIER', 'DEEP_ARCHIVE')),
    created_at_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO pool VALUES ('GLACIER', 'Glacier Pool', 'GLACIER', 0);
INSERT INTO pool VALUES ('DEEP_ARCHIVE', 'Deep Archive Pool', 'DEEP_ARCHIVE', 0);

CREATE TABLE tape (
    -- A virtual tape, in the library or on the shelf. Rows are never removed: a
    -- deleted tape stays as DELETED, so that its barcode is never given again.
    barcode                   TEXT PRIMARY KEY CHECK (length(barcode) BETWEEN 5 AND 16
                              AND barcode NOT GLOB '*[^A-Z0-9]*'),
    tape_uuid                 TEXT NOT NULL UNIQUE, -- names the tape in the store; 32 hex digits
    size_bytes                INTEGER NOT NULL CHECK (size_bytes > 0), -- native capacity
    -- user data before EOD
    used_bytes                INTEGER NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    status                    TEXT NOT NULL CHECK (status IN (
                              'CREATING', 'AVAILABLE', 'IN TRANSIT TO VTS', 'ARCHIVING', 'ARCHIVED',
                              'RETRIEVING', 'RETRIEVED', 'RECOVERED', 'IRRECOVERABLE', 'DELETING',
                              'DELETED')),
    previous_status           TEXT, -- status before the last transition; a cancel goes back to it
    pool_id                   TEXT NOT NULL REFERENCES pool (id),
    worm                      INTEGER NOT NULL DEFAULT 0 CHECK (worm IN (0, 1)),
    -- kept by transition()
    write_protected           INTEGER NOT NULL DEFAULT 0 CHECK (write_protected IN (0, 1)),
    element_address           INTEGER UNIQUE, -- SMC element it occupies; NULL: not in the library
    source_element            INTEGER,            -- storage or import/export element it last left
    -- SMC ImpExp
    placed_by_operator        INTEGER NOT NULL DEFAULT 0 CHECK (placed_by_operator IN (0, 1)),
    -- IN TRANSIT TO VTS: visible and cancellable by a move till then
    hold_until_ms             INTEGER,
    created_at_ms             INTEGER NOT NULL,
    status_at_ms              INTEGER NOT NULL,   -- time of the last transition
    ejected_at_ms             INTEGER,            -- last time it became IN TRANSIT TO VTS
    archive_completed_at_ms   INTEGER, -- last time it became ARCHIVED (AWS CompletionTime)
    -- of the last retrieval
    retrieval_tier            TEXT CHECK (retrieval_tier IN ('Expedited', 'Standard', 'Bulk')),
    retrieval_requested_at_ms INTEGER,            -- last time it became RETRIEVING
    retrieved_at_ms           INTEGER,            -- last time it became RETRIEVED
    -- readable copies in the store expire then; NULL: they do not
    restore_until_ms          INTEGER,
    -- percent of an archiving or retrieval
    progress                  REAL CHECK (progress BETWEEN 0 AND 100),
    -- last manifest put in the store; 0: none yet
    manifest_number           INTEGER NOT NULL DEFAULT 0,
    archived_through_sequence INTEGER, -- segments up to this one are in the pool's storage class
    -- of its ownership object; 0: not claimed yet
    store_epoch               INTEGER NOT NULL DEFAULT 0,
    store_etag                TEXT, -- of its ownership object, for the next conditional write
    status_detail             TEXT -- why it is IRRECOVERABLE, or what its step waits for
) STRICT;
CREATE INDEX tape_by_status ON tape (status);

CREATE TABLE segment (
    -- A sealed segment of a tape. The copies are <disk path>/tapes/<barcode>/<sequence:08d>.seg.
    barcode          TEXT NOT NULL REFERENCES tape (barcode),
    -- only grows; never reused within a tape
    sequence         INTEGER NOT NULL CHECK (sequence >= 0),
    partition        INTEGER NOT NULL DEFAULT 0,
    -- voids earlier objects at and after it
    first_object     INTEGER NOT NULL CHECK (first_object >= 0),
    object_count     INTEGER NOT NULL CHECK (object_count >= 0), -- blocks and filemarks
    filemark_count   INTEGER NOT NULL CHECK (filemark_count BETWEEN 0 AND object_count),
    data_bytes       INTEGER NOT NULL CHECK (data_bytes >= 0),   -- user data
    file_bytes       INTEGER NOT NULL CHECK (file_bytes >= 0),   -- the whole local file
    erases           INTEGER NOT NULL DEFAULT 0 CHECK (erases IN (0, 1)), -- ends in END_OF_DATA
    sealed_at_ms     INTEGER NOT NULL,
    cache_disk_id    TEXT REFERENCES disk (id),   -- NULL: no copy in the cache
    buffer_disk_id   TEXT REFERENCES disk (id),   -- NULL: no copy in the upload buffer
    uploaded_at_ms   INTEGER,                     -- NULL: not in the store yet
    object_bytes     INTEGER, -- size of its object in the store; NULL: not there yet
    last_read_at_ms  INTEGER NOT NULL,            -- orders eviction from the cache
    PRIMARY KEY (barcode, sequence),
    CHECK ((uploaded_at_ms IS NULL) = (object_bytes IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX segment_waiting ON segment (sealed_at_ms) WHERE uploaded_at_ms IS NULL;
CREATE INDEX segment_in_cache ON segment (cache_disk_id, last_read_at_ms)
    WHERE cache_disk_id IS NOT NULL;
CREATE INDEX segment_in_buffer ON segment (buffer_disk_id) WHERE buffer_disk_id IS NOT NULL;

CREATE TABLE event (
    -- What happened, for `tapectl events` and for whoever follows it. Only appended to.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms         INTEGER NOT NULL,
    actor         TEXT NOT NULL,   -- cli:<user>, initiator:<name>, transfer
    subject_kind  TEXT NOT NULL CHECK (subject_kind IN ('gateway', 'disk', 'tape', 'target')),
    subject_id    TEXT NOT NULL,   -- barcode, disk id, ...
    type          TEXT NOT NULL,   -- TapeStatusTransition, TapeMoved, DiskAdded, ...
    from_status   TEXT,            -- of a transition; NULL: creation
    to_status     TEXT,
    detail        TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(detail)) -- one JSON object
) STRICT;
CREATE INDEX event_by_subject ON event (subject_kind, subject_id);

CREATE TABLE chap (
    -- CHAP credentials of one initiator at one target (RFC 7143 12.1.3). CHAP needs
    -- the secrets themselves; the file mode of the state protects them.
    target            TEXT NOT NULL,  -- mediachanger or tapedrive-NN: survives a new IQN prefix
    initiator_name    TEXT NOT NULL,
    -- authenticates the initiator
    initiator_secret  BLOB NOT NULL CHECK (length(initiator_secret) BETWEEN 12 AND 16),
    target_secret     BLOB CHECK (length(target_secret) BETWEEN 12 AND 16), -- NULL: one-way CHAP
    created_at_ms     INTEGER NOT NULL,
    PRIMARY KEY (target, initiator_name),
    CHECK (target_secret IS NULL OR target_secret <> initiator_secret)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_token (
    -- Requests that were given a token, so that a repeat returns the first result.
    token          TEXT PRIMARY KEY CHECK (length(token) BETWEEN 5 AND 100),
    operation      TEXT NOT NULL,    -- CreateTapes
    request        TEXT NOT NULL CHECK (json_valid(request)), -- a repeat must ask for the same
    result         TEXT NOT NULL CHECK (json_valid(result)),  -- barcodes
    created_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    # 2: what a device keeps while it is without power.
    """
CREATE TABLE device_memory (
    -- Reservations with APTPL, saved mode pages, lifetime counters; each is its writer's format.
    device  TEXT NOT NULL,   -- serial number of the changer or of a drive
    name    TEXT NOT NULL,
    value   BLOB NOT NULL,
    PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE volume (
    -- Partitions and auxiliary memory of a tape; no row: one partition, nothing kept.
    barcode           TEXT PRIMARY KEY REFERENCES tape (barcode),
    document          TEXT NOT NULL CHECK (json_valid(document)), -- medium.volume.VolumeRecord
    version           INTEGER NOT NULL DEFAULT 1, -- grows with every change
    manifest_version  INTEGER NOT NULL DEFAULT 0  -- version in the last manifest in the store
                      CHECK (manifest_version <= version)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_changed ON volume (barcode) WHERE version > manifest_version;
""",
    # Import/export slots of the L700 and the 3584 stand where the real ones have them, if they fit.
    """
UPDATE tape SET element_address = element_address - (
    SELECT CASE changer_type WHEN 'STK-L700' THEN 20000 - 10 ELSE 20000 - 769 END FROM gateway)
WHERE element_address >= 20000 AND EXISTS (SELECT 1 FROM gateway
    WHERE (changer_type = 'STK-L700' AND import_export_count <= 490)
       OR (changer_type = 'IBM-03584L32-0402' AND import_export_count <= 256));
UPDATE tape SET source_element = source_element - (
    SELECT CASE changer_type WHEN 'STK-L700' THEN 20000 - 10 ELSE 20000 - 769 END FROM gateway)
WHERE source_element >= 20000 AND EXISTS (SELECT 1 FROM gateway
    WHERE (changer_type = 'STK-L700' AND import_export_count <= 490)
       OR (changer_type = 'IBM-03584L32-0402' AND import_export_count <= 256));
""",
    # The kind of cartridge. What was there before is of the only drives that were.
    """
-- generation: LTO generation of the medium; cleaning: a cleaning cartridge, of no data.
ALTER TABLE tape ADD COLUMN generation INTEGER NOT NULL DEFAULT 5 CHECK (generation > 0);
ALTER TABLE tape ADD COLUMN cleaning INTEGER NOT NULL DEFAULT 0 CHECK (cleaning IN (0, 1));
""",
    # 3: initiator lists.
    """
CREATE TABLE allowed_initiator (
    -- Initiators that may see a target and log in to it. A target without a row takes every
    -- initiator; where it asks for CHAP, an initiator must pass both.
    target          TEXT NOT NULL,    -- mediachanger or tapedrive-NN: survives a new IQN prefix
    initiator_name  TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (target, initiator_name)
) STRICT, WITHOUT ROWID;
""",
    # The last look at all copies of a tape's segments.
    """
CREATE TABLE verification (
    -- The last verification of a tape: the copies of its segments are read and checked, by request
    -- or by the scrub.
    barcode           TEXT PRIMARY KEY REFERENCES tape (barcode),
    requested         INTEGER NOT NULL CHECK (requested IN (0, 1)),   -- 0: the scrub's
    local_only        INTEGER NOT NULL CHECK (local_only IN (0, 1)),  -- 1: the store is not read
    rate_bytes_per_s  INTEGER CHECK (rate_bytes_per_s > 0),  -- NULL: the setting's
    started_at_ms     INTEGER NOT NULL,
    finished_at_ms    INTEGER,                      -- NULL: it goes on
    next_sequence     INTEGER NOT NULL DEFAULT 0,   -- segments before it have been looked at
    segment_count     INTEGER NOT NULL DEFAULT 0,   -- segments looked at
    checked_bytes     INTEGER NOT NULL DEFAULT 0,   -- read and found right, all copies together
    healed_count      INTEGER NOT NULL DEFAULT 0,   -- copies that were damaged and made anew
    damaged_count     INTEGER NOT NULL DEFAULT 0,   -- segments with a copy that stays damaged
    lost_count        INTEGER NOT NULL DEFAULT 0,   -- segments without any copy that is right
    unread_count      INTEGER NOT NULL DEFAULT 0    -- segments with a copy that cannot be read now
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_running ON verification (requested, started_at_ms)
    WHERE finished_at_ms IS NULL;
""",
    # One writer: which epoch of the gateway and of a tape this is in the store.
    """
-- store_epoch: of the tape's ownership in which the segment was put; NULL: not in the store yet.
ALTER TABLE segment ADD COLUMN store_epoch INTEGER;
UPDATE segment SET store_epoch = 1 WHERE object_bytes IS NOT NULL;
-- store_epoch: grows whenever another machine becomes this gateway.
ALTER TABLE gateway ADD COLUMN store_epoch INTEGER NOT NULL DEFAULT 1;
-- store_etag: of gateways/<id>.json as this machine left it; NULL: not known.
ALTER TABLE gateway ADD COLUMN store_etag TEXT;
-- inventory_etag: of inventories/<id>.json; NULL: there is none.
ALTER TABLE gateway ADD COLUMN inventory_etag TEXT;
-- fenced_at_ms, fenced_detail: since when, and why, this machine may write nothing any more; NULL:
-- it may. Set once and for good.
ALTER TABLE gateway ADD COLUMN fenced_at_ms INTEGER;
ALTER TABLE gateway ADD COLUMN fenced_detail TEXT;
""",
    # CHAP secrets are sealed by a key outside of this file. Those that were not cannot be read any
    # more: CHAP goes on being asked for, and they are to be set again.
    """
ALTER TABLE chap RENAME TO chap_unsealed;
CREATE TABLE chap (
    -- CHAP credentials of one initiator at one target (RFC 7143 12.1.3), sealed with AES-256-GCM
    -- by the key in <state>.key: nonce (12 bytes), cipher text, tag.
    target                   TEXT NOT NULL,  -- mediachanger or tapedrive-NN: survives a new prefix
    initiator_name           TEXT NOT NULL,
    sealed_initiator_secret  BLOB NOT NULL,  -- authenticates the initiator
    sealed_target_secret     BLOB,           -- NULL: one-way CHAP
    created_at_ms            INTEGER NOT NULL,
    PRIMARY KEY (target, initiator_name)
) STRICT, WITHOUT ROWID;
INSERT INTO chap SELECT target, initiator_name, x'', iif(target_secret IS NULL, NULL, x''),
    created_at_ms FROM chap_unsealed;
DROP TABLE chap_unsealed;
""",
    # Custom pools: retention locks, changes of pool, encryption, tags.
    """
-- retention_lock_type, retention_lock_days: tapes archived in the pool are locked so long.
ALTER TABLE pool ADD COLUMN retention_lock_type TEXT NOT NULL DEFAULT 'NONE'
    CHECK (retention_lock_type IN ('NONE', 'GOVERNANCE', 'COMPLIANCE'));
ALTER TABLE pool ADD COLUMN retention_lock_days INTEGER NOT NULL DEFAULT 0
    CHECK (retention_lock_days BETWEEN 0 AND 36500);
-- tags: JSON object, key -> value, at most 50.
ALTER TABLE pool ADD COLUMN tags TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(tags));
ALTER TABLE gateway ADD COLUMN tags TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(tags));
ALTER TABLE tape ADD COLUMN tags TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(tags));
-- manifest_stale: 1: pool or tags are newer than the last manifest; the transfer engine puts one.
ALTER TABLE tape ADD COLUMN manifest_stale INTEGER NOT NULL DEFAULT 0
    CHECK (manifest_stale IN (0, 1));
-- pool_entered_at_ms: when it came to its custom pool (AWS PoolEntryDate); NULL: a built-in one.
ALTER TABLE tape ADD COLUMN pool_entered_at_ms INTEGER;
-- retention_start_at_ms: when it was first archived under the lock of its pool; NULL: never was.
ALTER TABLE tape ADD COLUMN retention_start_at_ms INTEGER;
-- retention_mode, retained_until_ms: the lock that its archived objects have, from its pool.
ALTER TABLE tape ADD COLUMN retention_mode TEXT
    CHECK (retention_mode IN ('GOVERNANCE', 'COMPLIANCE'));
ALTER TABLE tape ADD COLUMN retained_until_ms INTEGER
    CHECK ((retained_until_ms IS NULL) = (retention_mode IS NULL));
-- archive_pending: 1: what is archived of it may not be as its pool wants it (class, lock): it was
-- assigned to another one, or its lock begins; the transfer engine resolves it.
ALTER TABLE tape ADD COLUMN archive_pending INTEGER NOT NULL DEFAULT 0
    CHECK (archive_pending IN (0, 1));
-- bypass_governance: 1: somebody has bypassed a GOVERNANCE lock of it; what is left of that lock in
-- the store, of old recovery points, does not hold against us either.
ALTER TABLE tape ADD COLUMN bypass_governance INTEGER NOT NULL DEFAULT 0
    CHECK (bypass_governance IN (0, 1));
-- encryption, kms_key: of every object of the tape; NULL: as the store does it, its default key.
ALTER TABLE tape ADD COLUMN encryption TEXT CHECK (encryption IN ('AES256', 'aws:kms'));
ALTER TABLE tape ADD COLUMN kms_key TEXT CHECK (kms_key IS NULL OR encryption = 'aws:kms');
""",
    # Archived segments stand in few large objects, which are asked for a few at a time; and no look
    # for what there is to do reads the segments of all tapes.
    """
CREATE INDEX segment_waiting_of_tape ON segment (barcode, sealed_at_ms, file_bytes)
    WHERE uploaded_at_ms IS NULL;
CREATE INDEX segment_on_disk ON segment (barcode, sequence)
    WHERE cache_disk_id IS NOT NULL OR buffer_disk_id IS NOT NULL;
CREATE TABLE archive_object (
    -- An object below archive/ in the store that holds the objects of segments one after the other,
    -- all from the first to the last. A segment that is archived (up to the tape's
    -- archived_through_sequence) and in none of them has an object of its own there.
    barcode         TEXT NOT NULL REFERENCES tape (barcode),
    first_sequence  INTEGER NOT NULL CHECK (first_sequence >= 0),
    last_sequence   INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
    size_bytes      INTEGER NOT NULL CHECK (size_bytes > 0),
    store_epoch     INTEGER NOT NULL, -- of the tape's ownership in which it was composed
    PRIMARY KEY (barcode, first_sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE retrieval (
    -- How far asking the store for readable copies of a tape has got: of one that is RETRIEVING, or
    -- of one whose copies are to live on. Objects are asked for in order of sequence.
    barcode           TEXT PRIMARY KEY REFERENCES tape (barcode),
    request_ms        INTEGER NOT NULL, -- the tape's retrieval_requested_at_ms, or the
                                        -- restore_until_ms that is to be prolonged
    asked_through     INTEGER NOT NULL, -- segments up to it have been asked for; -1: none
    -- copies of segments up to it can be read; -1: none
    readable_through  INTEGER NOT NULL CHECK (readable_through <= asked_through),
    until_ms          INTEGER           -- when the first of those copies ends; NULL: none does
) STRICT, WITHOUT ROWID;
""",
    # Disks that are to go, and disks that have refused something.
    """
-- draining_since_ms: nothing new goes to the disk, and what it holds goes elsewhere; NULL: in use.
ALTER TABLE disk ADD COLUMN draining_since_ms INTEGER;
-- failed_at_ms, failed_detail: when it last refused a write or a flush, and what it said; NULL: a
-- segment has been sealed on it since.
ALTER TABLE disk ADD COLUMN failed_at_ms INTEGER;
ALTER TABLE disk ADD COLUMN failed_detail TEXT;
""",
    # What the gateway does by itself: new tapes, and how fast it uploads and downloads.
    """
CREATE TABLE automatic_tape_creation_rule (
    -- So many AVAILABLE tapes of a prefix are kept in the import/export slots. AWS:
    -- AutomaticTapeCreationRule, of which a gateway has up to 10.
    prefix         TEXT PRIMARY KEY CHECK (length(prefix) BETWEEN 1 AND 4
                   AND prefix NOT GLOB '*[^A-Z]*'),
    minimum_tapes  INTEGER NOT NULL CHECK (minimum_tapes BETWEEN 1 AND 10),
    size_bytes     INTEGER NOT NULL CHECK (size_bytes > 0), -- of each tape that is made
    pool_id        TEXT NOT NULL REFERENCES pool (id),
    worm           INTEGER NOT NULL CHECK (worm IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE bandwidth_interval (
    -- Limits at some times of the week, in the gateway's time zone; no two overlap. AWS:
    -- BandwidthRateLimitInterval, of which a gateway has up to 20. No row: no limit.
    id                     INTEGER PRIMARY KEY,
    days                   INTEGER NOT NULL CHECK (days BETWEEN 1 AND 127), -- bit 0: Sunday
    start_minute           INTEGER NOT NULL CHECK (start_minute BETWEEN 0 AND 1439), -- of the day
    -- the last one it holds for, to its end
    end_minute             INTEGER NOT NULL CHECK (end_minute BETWEEN start_minute AND 1439),
    upload_bits_per_s      INTEGER CHECK (upload_bits_per_s >= 51200),    -- NULL: no limit
    download_bits_per_s    INTEGER CHECK (download_bits_per_s >= 102400)  -- NULL: no limit
) STRICT;
""",
    # Tapes whose data is encrypted before it leaves the gateway.
    """
-- data_key: the id of the key that wraps it, a colon, the wrapped data key in base64; what opens it
-- is in the keyring, beside the state. NULL: the data is not encrypted by us.
ALTER TABLE tape ADD COLUMN data_key TEXT CHECK (data_key GLOB '????????????????:*');
""",
    # A writer asks for room at each new segment, and adding up takes the longer the more there are.
    """
CREATE TABLE disk_use (
    -- What sealed segments take of each disk; kept by the triggers below, and by nothing else.
    disk_id  TEXT PRIMARY KEY REFERENCES disk (id) ON DELETE CASCADE,
    bytes    INTEGER NOT NULL -- the sum of their file_bytes
) STRICT, WITHOUT ROWID;
INSERT INTO disk_use SELECT id,
    (SELECT coalesce(sum(file_bytes), 0) FROM segment WHERE cache_disk_id = disk.id)
    + (SELECT coalesce(sum(file_bytes), 0) FROM segment WHERE buffer_disk_id = disk.id) FROM disk;
CREATE TRIGGER disk_added AFTER INSERT ON disk BEGIN
    INSERT INTO disk_use VALUES (NEW.id, 0);
END;
CREATE TRIGGER segment_added AFTER INSERT ON segment BEGIN
    UPDATE disk_use SET bytes = bytes + NEW.file_bytes
        WHERE disk_id IN (NEW.cache_disk_id, NEW.buffer_disk_id);
END;
CREATE TRIGGER segment_removed AFTER DELETE ON segment BEGIN
    UPDATE disk_use SET bytes = bytes - OLD.file_bytes
        WHERE disk_id IN (OLD.cache_disk_id, OLD.buffer_disk_id);
END;
CREATE TRIGGER segment_moved AFTER UPDATE OF cache_disk_id, buffer_disk_id, file_bytes ON segment
BEGIN
    UPDATE disk_use SET bytes = bytes - OLD.file_bytes
        WHERE disk_id IN (OLD.cache_disk_id, OLD.buffer_disk_id);
    UPDATE disk_use SET bytes = bytes + NEW.file_bytes
        WHERE disk_id IN (NEW.cache_disk_id, NEW.buffer_disk_id);
END;
""",
    # What stands before a segment says what is left of one that it voids in part, and how much a
    # tape held when a segment was its last one.
    """
-- filemarks_before, data_bytes_before: filemarks and user data of its partition before its first
-- object, as its header says; NULL: sealed by a program that did not enter them.
ALTER TABLE segment ADD COLUMN filemarks_before INTEGER CHECK (filemarks_before >= 0);
ALTER TABLE segment ADD COLUMN data_bytes_before INTEGER CHECK (data_bytes_before >= 0)
    CHECK ((data_bytes_before IS NULL) = (filemarks_before IS NULL));
""",
    # What was overwritten is let go of after some days.
    """
-- Of a segment of which nothing counts any more: since when a recovery point says so, and the
-- number of that point; NULL: it counts, is not in the store, or too small to matter.
ALTER TABLE segment ADD COLUMN overwritten_at_ms INTEGER;
ALTER TABLE segment ADD COLUMN overwritten_point INTEGER
    CHECK ((overwritten_point IS NULL) = (overwritten_at_ms IS NULL));
-- its data is let go of: no recovery point needs it, and its objects have gone or are going
ALTER TABLE segment ADD COLUMN expired INTEGER NOT NULL DEFAULT 0
    CHECK (expired IN (0, 1) AND (expired = 0 OR overwritten_at_ms IS NOT NULL));
CREATE INDEX segment_overwritten ON segment (overwritten_at_ms)
    WHERE overwritten_at_ms IS NOT NULL AND expired = 0;
-- JSON: [[first, last], ...] sequence numbers of its expired segments, as its manifests say them
ALTER TABLE tape ADD COLUMN expired TEXT NOT NULL DEFAULT '[]';
-- number of the first recovery point that can be restored; 0: every one can
ALTER TABLE tape ADD COLUMN oldest_point INTEGER NOT NULL DEFAULT 0;
-- number of the manifest up to which it was looked what has been overwritten
ALTER TABLE tape ADD COLUMN overwritten_seen INTEGER NOT NULL DEFAULT 0;
-- objects of expired segments may be in the store
ALTER TABLE tape ADD COLUMN expiry_pending INTEGER NOT NULL DEFAULT 0
    CHECK (expiry_pending IN (0, 1));
""",
    # Tapes on the shelf go to any gateway of the bucket.
    """
-- what its ownership object says: 1: it is on the shelf, and any gateway may retrieve it; NULL: not
-- known, or being changed; the next pass sees to it
ALTER TABLE tape ADD COLUMN on_shelf INTEGER CHECK (on_shelf IN (0, 1));
-- the gateway that has it now; the row only says where it went
ALTER TABLE tape ADD COLUMN moved_to TEXT CHECK (moved_to IS NULL OR status = 'DELETED');
""",
)


def migrate(db: sqlite3.Connection, steps: Sequence[str] = MIGRATIONS) -> int:
    """Bring the schema up to date, one transaction a step; return the resulting version.

    Of two processes that come at once one runs each step: the version is read
    again under the write lock. A step that fails leaves the version before it.
    Raises sqlite3.Error. A version beyond `steps` is returned untouched.
    """
    while (version := _version(db)) < len(steps):
        db.execute("BEGIN IMMEDIATE")
        try:
            version = _version(db)
            if version < len(steps):
                if version == 0:
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                for statement in _statements(steps[version]):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version + 1}")
            db.execute("COMMIT")
        except BaseException:
            # SQLite ends the transaction by itself on some errors (disk full).
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return version


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: executescript() would commit our transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip():
        raise ValueError(f"unfinished statement in a migration: {statement.strip()}")
