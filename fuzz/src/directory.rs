//! The body of the target `directory`: any files in a log directory, opened in every recovery mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_engine::{
    DecodeError, Error, ErrorKind, LogEntry, Payload, Position, Preallocation, ReadEvent, ReadOptions,
    RecoveryMode, RecoveryReport, ReplaySink, Sample, Series, SeriesPayload, StoneRow, Verdict, Wal,
    WalOptions, WalReader, intent,
};
use wal_segment::dir::segment_number;
use wal_sim::{Disk, Pick, SimDisk};

use crate::files::Files;

/// For any files, what the log promises:
/// reading changes nothing and agrees with recovery; a mode that refuses changes nothing; the modes agree on
/// the verdict and on the entries before the first fault; what is cut is in quarantine, and nothing else is
/// gone; a second recovery, also after power loss, changes nothing; appending goes on.
pub fn body(data: &[u8]) {
    let files = Files::parse(data);
    let disk = files.disk().disk();
    let read = read(&disk, false);
    let read_on = self::read(&disk, true);
    if let (Ok(read), Ok(on)) = (&read, &read_on) {
        assert!(on.starts_with(read), "reading on loses what is read up to the fault");
    }
    let [strict, torn, point, skip] = MODES.map(|mode| try_mode(&disk, files.settings, mode));
    let agreed = [(&read, &point), (&read_on, &skip)];
    for (read, opened) in agreed {
        if let (Ok(read), Ok(opened)) = (read, opened) {
            assert_eq!(*read, opened.entries, "a reader and recovery differ");
        }
    }
    if let Ok(point) = &point {
        let verdict = point.verdict;
        assert_eq!(strict.is_ok(), verdict == Verdict::Clean, "strict opens what is clean: {verdict}");
        assert_eq!(torn.is_ok(), verdict <= Verdict::Torn, "opens what is torn: {verdict}");
        for opened in [&strict, &torn].into_iter().flatten() {
            assert_eq!(*opened, *point, "the modes differ on a log that both open");
        }
        if let Ok(skip) = &skip {
            assert_eq!(skip.verdict, verdict);
            assert!(skip.entries.starts_with(&point.entries));
        }
    }
}

/// An entry that was read, or the mark of one that does not decode.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Series(Vec<Series>),
    Samples(Vec<Sample>),
    Deletes(Vec<StoneRow>),
    Malformed,
}

/// Entries and where they begin.
type Entries = Vec<(Position, Entry)>;

#[derive(Debug, PartialEq)]
struct Opened {
    entries: Entries,
    verdict: Verdict,
}

#[derive(Default)]
struct Sink(Entries);

impl ReplaySink for Sink {
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        self.0.push((at, Entry::Series(batch.iter().map(|view| view.to_series()).collect())));
    }

    fn samples(&mut self, at: Position, batch: &[Sample]) {
        self.0.push((at, Entry::Samples(batch.to_vec())));
    }

    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        self.0.push((at, Entry::Deletes(batch.to_vec())));
    }

    fn malformed(&mut self, at: Position, _: &DecodeError) {
        self.0.push((at, Entry::Malformed));
    }
}

/// Reads the log; no call may change the disk.
fn read(disk: &Disk, skip_damaged: bool) -> Result<Entries, Error> {
    let sim = SimDisk::new(disk.clone());
    let changes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&changes);
    sim.watch(Box::new(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
    }));
    let options = ReadOptions::default().skip_damaged(skip_damaged).entry_bytes_max(READ_BYTES_MAX);
    let read = || -> Result<Entries, Error> {
        let mut reader = WalReader::open_storage(Arc::new(sim.clone()), options)?;
        let mut entries = Vec::new();
        while let Some(event) = reader.next()? {
            match event {
                ReadEvent::Entry(LogEntry { at, payload, .. }) => entries.push((at, owned(&payload))),
                ReadEvent::Malformed { at, .. } => entries.push((at, Entry::Malformed)),
                _ => {}
            }
        }
        Ok(entries)
    };
    let read = read();
    assert_eq!(changes.load(Ordering::Relaxed), 0, "a reader changes the disk");
    read
}

fn owned(payload: &Payload<'_>) -> Entry {
    match payload {
        Payload::Series(batch) => Entry::Series(batch.iter().map(|view| view.to_series()).collect()),
        Payload::Samples(batch) => Entry::Samples(batch.iter().collect()),
        Payload::Deletes(batch) => Entry::Deletes(batch.iter().collect()),
    }
}

/// Opens the log, and judges all that the mode did to it.
fn try_mode(disk: &Disk, settings: u8, mode: RecoveryMode) -> Result<Opened, Error> {
    let options = options(settings, mode);
    let sim = SimDisk::new(disk.clone());
    let (wal, report, entries) = match open(&sim, &options) {
        Ok(opened) => opened,
        Err(error) => {
            let is_verdict =
                matches!(error.kind(), ErrorKind::Torn | ErrorKind::Damaged | ErrorKind::Unsupported);
            if is_verdict || error.kind() == ErrorKind::TooLarge {
                assert_eq!(sim.disk().fingerprint(), disk.fingerprint(), "refused and changed: {error}");
            }
            return Err(error);
        }
    };
    let verdict = report.verdict;
    let left = sim.disk().after_power_loss(&[]);
    kept_what_it_cut(disk, &left, &report);
    let kept: Vec<Entry> = entries.iter().map(|(_, entry)| entry.clone()).collect();
    // The process dies: another finds nothing to do, on the running machine and after power loss.
    drop(wal);
    drop(again(&SimDisk::new(sim.disk()), &options, &kept));
    let sim = SimDisk::new(left);
    let wal = again(&sim, &options, &kept);
    go_on(&sim, wal, &options, kept, settings);
    Ok(Opened { entries, verdict })
}

fn open(sim: &SimDisk, options: &WalOptions) -> Result<(Wal, RecoveryReport, Entries), Error> {
    let mut sink = Sink::default();
    let (wal, report) = Wal::open_storage(Arc::new(sim.clone()), options.clone())?.replay(&mut sink)?;
    Ok((wal, report, sink.0))
}

/// Opens a log that was recovered: the same entries, and nothing is left to repair.
fn again(sim: &SimDisk, options: &WalOptions, kept: &[Entry]) -> Wal {
    let before = segments(&sim.disk());
    let (wal, report, entries) =
        open(sim, options).unwrap_or_else(|error| panic!("opens once and not again: {error}"));
    assert!(entries.iter().map(|(_, entry)| entry).eq(kept), "{entries:?} instead of {kept:?}");
    let repaired = (report.verdict, report.cut_at, report.quarantined.len(), report.gaps.len());
    assert_eq!(repaired, (Verdict::Clean, None, 0, 0), "a second recovery repairs: {report}");
    assert_eq!(segments(&sim.disk()), before, "a second recovery changes the log");
    wal
}

/// The bytes of each segment, less prepared space: that of a segment which became the last one by a repair
/// goes with the next recovery.
fn segments(disk: &Disk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list().filter(|(name, _)| segment_number(name).is_some());
    let trimmed = names.map(|(name, _)| {
        let mut bytes = disk.contents(name).unwrap_or_default();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        (name.to_owned(), bytes)
    });
    trimmed.collect()
}

/// Appends, truncates, and loses power: what was acknowledged comes back behind what was there.
fn go_on(sim: &SimDisk, wal: Wal, options: &WalOptions, mut kept: Vec<Entry>, settings: u8) {
    let start = wal.end();
    for count in 1..=2 {
        let batch = vec![Sample::new(77_u64, -7, 7.5); count * 3];
        match wal.log_samples(&batch) {
            Ok(end) => assert!(start < end),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::NumbersExhausted, "{error}"),
        }
        kept.push(Entry::Samples(batch));
    }
    if let Err(error) = wal.sync() {
        // Nothing else can go wrong on a disk that works.
        return assert_eq!(error.kind(), ErrorKind::NumbersExhausted, "{error}");
    }
    if settings & TRUNCATES != 0 {
        let last = wal.end().segment;
        let report = wal.truncate(i64::MAX, |series| series.0 % 2 == 0);
        let report = report.unwrap_or_else(|error| panic!("cannot truncate: {error}"));
        assert!(report.damaged.is_empty(), "a log that was recovered is damaged: {report:?}");
        drop(wal);
        let (wal, report, entries) = open(&SimDisk::new(sim.disk().after_power_loss(&[])), options)
            .unwrap_or_else(|error| panic!("does not open behind a truncation: {error}"));
        assert_eq!(report.verdict, Verdict::Clean);
        assert_eq!(wal.end().segment, last, "truncation moves the end");
        assert_eq!(entries.last().map(|(_, entry)| entry), kept.last(), "the active segment stays");
        return;
    }
    drop(wal);
    let disk = sim.disk();
    let newest = disk.units().iter().map(|unit| Pick::State(unit.states - 1)).collect::<Vec<_>>();
    let picks = if settings & KEEPS_PENDING != 0 { newest } else { Vec::new() };
    again(&SimDisk::new(disk.after_power_loss(&picks)), options, &kept);
}

/// Whatever recovery took out of a segment is in quarantine, and what is not the log's is as it was.
fn kept_what_it_cut(before: &Disk, after: &Disk, report: &RecoveryReport) {
    // A truncation that recovery finishes drops what nobody needs, on purpose.
    let pending = intent::load(&SimDisk::new(before.clone())).unwrap_or_default();
    for (name, _) in before.list() {
        let old = before.contents(name).unwrap_or_default();
        let new = after.contents(name);
        let Some(number) = segment_number(name) else {
            let ours = ["", "durable", "intent", "reserve", "quarantine"].contains(&name);
            assert!(ours || name.ends_with(".wal-tmp") || new == Some(old), "{name} is not the log's");
            continue;
        };
        if !pending.is_empty() {
            continue;
        }
        let is_kept = |offset: usize| {
            report.quarantined.iter().any(|kept| {
                (kept.segment, kept.offset) == (number, offset as u64)
                    && after.contents(&format!("quarantine/{}", kept.name)).as_deref() == old.get(offset..)
            })
        };
        let new = new.unwrap_or_default();
        let stays = old.len().min(new.len());
        let is_cut = old[..stays] == new[..stays];
        let is_zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let is_whole = is_cut && is_zeros(&old[stays..]) && is_zeros(&new[stays..]);
        assert!(
            is_whole || is_kept(0) || (is_cut && is_kept(new.len())),
            "{} bytes of {name} became {}, and {:?} is in quarantine",
            old.len(),
            new.len(),
            report.quarantined
        );
    }
}

fn options(settings: u8, mode: RecoveryMode) -> WalOptions {
    let preallocation = [Preallocation::None, Preallocation::ZeroFill];
    WalOptions::default()
        .background_thread(false)
        .replay_threads(if settings & THREADS == THREADS { 2 } else { 1 })
        .segment_bytes_max([64, 200, 1024, 8192][usize::from(settings % 4)])
        .buffer_bytes(4096)
        .window_bytes(4096)
        .read_entry_bytes_max(READ_BYTES_MAX)
        .preallocation(preallocation[usize::from(settings & ZERO_FILL != 0)])
        .recovery_mode(mode)
}

const MODES: [RecoveryMode; 4] = [
    RecoveryMode::Strict,
    RecoveryMode::TolerateTornTail,
    RecoveryMode::PointInTime,
    RecoveryMode::SkipDamaged,
];

/// Bits of the settings; the lowest two choose the segment size.
const ZERO_FILL: u8 = 0x04;
const TRUNCATES: u8 = 0x08;
const KEEPS_PENDING: u8 = 0x10;
/// Two bits, so that few inputs pay for starting threads.
const THREADS: u8 = 0x60;
/// Above it a valid entry is an error; low enough for an input to pass it.
const READ_BYTES_MAX: u64 = 2048;
