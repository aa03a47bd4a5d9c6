//! A log in memory that can be spoiled byte by byte: made once, copied for every case.

use std::sync::Arc;

use wal_engine::mark::{MARK_FILE, Mark};
use wal_engine::{
    Error, Interval, MarkStatus, Position, Preallocation, ReadEvent, ReadOptions, RecoveryMode,
    RecoveryReport, Stone, StoneRow, Verdict, Wal, WalOptions, WalReader,
};
use wal_segment::dir::{segment_name, segment_number};
use wal_segment::{Access, Storage};
use wal_sim::{Disk, SimDisk};

use super::{Item, Memory, sample, series};

/// All modes, from the one that changes least to the one that keeps most.
pub const MODES: [RecoveryMode; 4] = [
    RecoveryMode::Strict,
    RecoveryMode::TolerateTornTail,
    RecoveryMode::PointInTime,
    RecoveryMode::SkipDamaged,
];

/// A disk with a log on it, and what the log holds.
#[derive(Clone)]
pub struct Image {
    pub disk: Disk,
    /// Where each entry begins and ends, and what it holds.
    pub entries: Vec<(Position, u64, Item)>,
    /// Where each entry begins and ends, and its checksum.
    pub sums: Vec<Sum>,
}

/// Where an entry begins and ends, and its checksum.
pub type Sum = (Position, u64, u32);

/// What opening a disk came to: the error or the report, what the sink saw, and the disk afterwards.
pub struct Opened {
    pub outcome: Result<RecoveryReport, Error>,
    pub memory: Memory,
    pub disk: Disk,
}

/// What reading a disk without a lock came to.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub at: Vec<Position>,
    pub sums: Vec<Sum>,
    pub verdict: Verdict,
    pub fault: Option<Position>,
    pub mark: MarkStatus,
}

/// One thread, small segments, no space prepared: the files hold what was logged and nothing else.
pub fn plain(segment_bytes_max: u64) -> WalOptions {
    WalOptions::default()
        .segment_bytes_max(segment_bytes_max)
        .buffer_bytes(4096)
        .preallocation(Preallocation::None)
        .background_thread(false)
        .replay_threads(1)
}

/// A closed log of three segments with entries of every kind and of many sizes.
pub fn three_segments() -> Image {
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(1300)).unwrap().replay(&mut ()).unwrap();
    let mut value = 0;
    while wal.end().segment < 3 || wal.end().offset < 1100 {
        log_some(&wal, value);
        value += 10;
        wal.sync().unwrap();
    }
    wal.close().unwrap();
    let image = Image::of(sim.disk());
    assert_eq!(image.names(), ["000001", "000002", "000003"]);
    image
}

/// A few entries of each kind.
pub fn log_some(wal: &Wal, from: u32) {
    wal.log_series(&[series(u64::from(from) + 1), series(u64::from(from) + 2)]).unwrap();
    wal.log_samples(&(from..from + 7).map(sample).collect::<Vec<_>>()).unwrap();
    wal.log_samples(&[sample(from + 7)]).unwrap();
    let row = StoneRow { series_ref: sample(0).series_ref, interval: Interval::new(5, i64::from(from) + 9) };
    wal.log_deletes(&[Stone::from(row)]).unwrap();
    wal.log_samples(&[sample(from + 8), sample(from + 9)]).unwrap();
}

impl Image {
    /// The image of a disk whose log is clean.
    pub fn of(disk: Disk) -> Self {
        let mut reader =
            WalReader::open_storage(Arc::new(SimDisk::new(disk.clone())), ReadOptions::default()).unwrap();
        let mut sums = Vec::new();
        while let Some(event) = reader.next().unwrap() {
            match event {
                ReadEvent::Entry(entry) => sums.push((entry.at, entry.end.offset, entry.checksum)),
                ReadEvent::SegmentEnd(_) => {}
                other => panic!("not clean: {other:?}"),
            }
        }
        let opened = open(&disk, RecoveryMode::Strict);
        opened.outcome.unwrap();
        let Memory { at, items, .. } = opened.memory;
        assert_eq!(at.len(), sums.len());
        let ends = sums.iter().map(|sum| sum.1);
        let entries = at.into_iter().zip(ends).zip(items).map(|((at, end), item)| (at, end, item)).collect();
        Self { disk, entries, sums }
    }

    /// Names of the segments, in order.
    pub fn names(&self) -> Vec<String> {
        segments(&self.disk).into_iter().map(|(number, _)| segment_name(number)).collect()
    }

    /// The entry that a byte belongs to; none for a header.
    pub fn entry_at(&self, segment: u64, offset: u64) -> Option<usize> {
        self.entries
            .iter()
            .position(|(at, end, _)| at.segment == segment && (at.offset..*end).contains(&offset))
    }

    /// The entry that begins at this segment and offset.
    pub fn index_of(&self, at: (u64, u64)) -> usize {
        let found = self.sums.iter().position(|(start, ..)| (start.segment, start.offset) == at);
        found.unwrap_or_else(|| panic!("no entry begins at {at:?}"))
    }

    /// Where the log ends.
    pub fn end(&self) -> Position {
        self.entries.last().map(|(at, end, _)| Position::new(at.segment, *end)).unwrap()
    }

    /// What a sink is to have seen when it saw the entries of these indexes.
    pub fn seen(&self, wanted: impl Fn(usize) -> bool) -> (Vec<Position>, Vec<Item>) {
        let chosen = self.entries.iter().enumerate().filter(|(index, _)| wanted(*index));
        chosen.map(|(_, (at, _, item))| (*at, item.clone())).unzip()
    }
}

/// Segment numbers and their bytes, in order.
pub fn segments(disk: &Disk) -> Vec<(u64, Vec<u8>)> {
    let named = disk.list().filter_map(|(name, _)| Some((segment_number(name)?, name.to_owned())));
    let mut found: Vec<_> = named.map(|(number, name)| (number, disk.contents(&name).unwrap())).collect();
    found.sort();
    found
}

/// Everything in quarantine, by name.
pub fn quarantined(disk: &Disk) -> Vec<(String, Vec<u8>)> {
    let names: Vec<_> = disk.list().map(|(name, _)| name.to_owned()).collect();
    let inside = names.into_iter().filter(|name| name.starts_with("quarantine/"));
    inside.map(|name| (name.clone(), disk.contents(&name).unwrap())).collect()
}

/// A copy of a disk with other bytes in a file, which is made if it is missing.
pub fn with_file(disk: &Disk, name: &str, bytes: &[u8]) -> Disk {
    let sim = SimDisk::new(disk.clone());
    let file = match sim.open(name, Access::Write) {
        Ok(file) => file,
        Err(_) => sim.create_new(name).unwrap(),
    };
    file.set_len(0).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file.sync().unwrap();
    sim.sync_folder(wal_segment::Folder::Log).unwrap();
    sim.disk()
}

/// A copy of a disk without a file.
pub fn without_file(disk: &Disk, name: &str) -> Disk {
    let sim = SimDisk::new(disk.clone());
    sim.remove(name).unwrap();
    sim.sync_folder(wal_segment::Folder::Log).unwrap();
    sim.disk()
}

/// A copy of a disk with some bits of a file changed.
pub fn with_bits(disk: &Disk, name: &str, offset: u64, bits: u8) -> Disk {
    let sim = SimDisk::new(disk.clone());
    let file = sim.open(name, Access::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, offset).unwrap();
    file.write_at(&[byte[0] ^ bits], offset).unwrap();
    file.sync().unwrap();
    sim.disk()
}

/// A copy of a disk with a file cut to a length.
pub fn cut(disk: &Disk, name: &str, bytes: u64) -> Disk {
    let sim = SimDisk::new(disk.clone());
    let file = sim.open(name, Access::Write).unwrap();
    file.set_len(bytes).unwrap();
    file.sync().unwrap();
    sim.disk()
}

/// The mark on a disk.
pub fn mark_of(disk: &Disk) -> Mark {
    Mark::newest(&disk.contents(MARK_FILE).unwrap()).unwrap()
}

/// Opens a copy of the disk for appending, and closes it again.
pub fn open(disk: &Disk, mode: RecoveryMode) -> Opened {
    let (opened, wal) = open_wal(disk, mode);
    drop(wal);
    opened
}

/// Opens a copy of the disk; the log comes along if the mode opened it.
pub fn open_wal(disk: &Disk, mode: RecoveryMode) -> (Opened, Option<(Wal, SimDisk)>) {
    let sim = SimDisk::new(disk.clone());
    let mut memory = Memory::default();
    let options = plain(1300).recovery_mode(mode);
    let opened = Wal::open_storage(Arc::new(sim.clone()), options);
    let (outcome, wal) = match opened.and_then(|recovery| recovery.replay(&mut memory)) {
        Ok((wal, report)) => (Ok(report), Some((wal, sim.clone()))),
        Err(error) => (Err(error), None),
    };
    (Opened { outcome, memory, disk: sim.disk() }, wal)
}

/// Reads a disk as `wal dump` and `wal verify` do.
pub fn read(disk: &Disk, skip_damaged: bool) -> Read {
    let options = ReadOptions::default().skip_damaged(skip_damaged);
    let mut reader = WalReader::open_storage(Arc::new(SimDisk::new(disk.clone())), options).unwrap();
    let mut read =
        Read { at: vec![], sums: vec![], verdict: Verdict::Clean, fault: None, mark: MarkStatus::Absent };
    let mut events = 0;
    while let Some(event) = reader.next().unwrap() {
        events += 1;
        assert!(events < 10_000, "reading does not end");
        match event {
            ReadEvent::Entry(entry) => {
                read.at.push(entry.at);
                read.sums.push((entry.at, entry.end.offset, entry.checksum));
            }
            ReadEvent::Fault(fault) | ReadEvent::Gap(_, fault) if read.fault.is_none() => {
                (read.verdict, read.fault) = (fault.verdict, Some(fault.at));
            }
            _ => {}
        }
    }
    read.mark = reader.mark();
    read
}
