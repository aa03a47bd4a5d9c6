//! Histories: what is done to a log between its creation and its end. Each follows from a name and a
//! seed.

use wal_engine::{Preallocation, RecoveryMode, WalOptions};
use wal_sim::{Disk, Rng};

use super::entry::Entry;

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Append it.
    Append(Entry),
    /// Commit everything so far.
    Commit,
    /// Drop what is older than the time of this entry.
    Truncate(u32),
    /// Close and open again.
    Reopen,
    /// The process dies, the machine does not; open again.
    Kill,
    /// Close, damage the n-th entry and what lies near it, open again.
    Rot(u16, Rot),
    /// From now on the disk has room for so many sectors more.
    Full(u8),
    /// There is room again: what was accepted can be committed now.
    Room,
    /// The n-th sync from here fails, and the kernel forgets the pages; later ones fail too, if so said.
    FailSync(u8, bool),
    /// Remember the durable mark as it is.
    SaveMark,
    /// Close, put the remembered mark back, or none where none was remembered, and open again.
    OldMark,
    /// Copy the running log elsewhere, sealed segments by a second name.
    Backup,
}

/// How bytes change by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rot {
    /// A bit of the entry's payload or checksum.
    Bit(u16),
    /// The length, to one that no file has.
    Length,
    /// The kind, to none that there is.
    Kind,
    /// Zeros over the entry and so many bytes behind it.
    Zeros(u16),
    /// Garbage over the entry and so many bytes behind it.
    Garbage(u16),
    /// The header of the entry's segment, and so all of it.
    Header,
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    /// Its name and seed: what a schedule calls it.
    pub name: String,
    pub options: WalOptions,
    pub ops: Vec<Op>,
    /// The first number that its entries do not use.
    pub next_id: u32,
    /// Space is taken by writing zeros: the disk need not be trusted with any other way.
    pub writes_zeros: bool,
    /// Files on the disk before it begins.
    pub files: Vec<(String, Vec<u8>)>,
    /// How it goes on behind a crash follows from this and the number of crashes.
    more_seed: u64,
}

/// Whether a history, by its name, has rotation, truncation, repair or closing in it.
pub fn is_structural(name: &str) -> bool {
    !matches!(name.split(' ').next(), Some("fresh" | "appends"))
}

/// The kinds of histories.
pub const KINDS: [&str; 13] = [
    "fresh",
    "appends",
    "rotation",
    "truncation",
    "reopening",
    "mixed",
    "damage",
    "skipping",
    "full",
    "poison",
    "marks",
    "backup",
    "numbers",
];

/// What the name of a history with [`Sizes::Varied`] ends in.
const VARIED: &str = " varied";

/// The sizes of entries and segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// A few, so that a seed is soon tried again with another order of things.
    Few,
    /// One of these and up to a half more, so that ends fall anywhere in a sector.
    Varied,
}

impl Sizes {
    fn count(self, rng: &mut Rng, few: [u16; 4]) -> u16 {
        let count = few[rng.below(few.len())];
        match self {
            Self::Few => count,
            Self::Varied => count + u16::try_from(rng.below(usize::from(count / 2) + 1)).unwrap(),
        }
    }
}

/// The number of the last segment whose name has the width that the reference gives it, less one.
const LAST_NARROW: u64 = 999_998;

impl History {
    /// The history of this name: a kind, a seed, and whether its sizes vary.
    pub fn named(name: &str) -> Option<Self> {
        let (name, sizes) = match name.strip_suffix(VARIED) {
            Some(name) => (name, Sizes::Varied),
            None => (name, Sizes::Few),
        };
        let (kind, seed) = name.split_once(' ')?;
        Some(Self::with_sizes(KINDS.iter().find(|known| **known == kind)?, seed.parse().ok()?, sizes))
    }

    /// A history whose entries and segments have one of a few sizes.
    pub fn new(kind: &str, seed: u64) -> Self {
        Self::with_sizes(kind, seed, Sizes::Few)
    }

    /// A history that shares few images with others: its sizes vary, and so does how it goes on.
    pub fn varied(kind: &str, seed: u64) -> Self {
        Self::with_sizes(kind, seed, Sizes::Varied)
    }

    fn with_sizes(kind: &str, seed: u64, sizes: Sizes) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(31) ^ kind.len() as u64);
        let (options, writes_zeros) = options(&mut rng, kind, sizes);
        let (name, more_seed) = match sizes {
            Sizes::Few => (format!("{kind} {seed}"), 0),
            Sizes::Varied => (format!("{kind} {seed}{VARIED}"), seed << 8),
        };
        if is_plotted(kind) {
            let (ops, next_id) = plotted(&mut rng, kind, sizes);
            let mut files = Vec::new();
            if kind == "numbers" {
                let header = wal_format::SegmentHeader::CURRENT.to_bytes().to_vec();
                files.push((wal_segment::dir::segment_name(LAST_NARROW), header));
            }
            return Self { name, options, ops, next_id, writes_zeros, files, more_seed };
        }
        let mut ops = Vec::new();
        let mut next_id: u32 = 1;
        let (appends, rest): (usize, &[Op]) = match kind {
            "fresh" => (2, &[]),
            "appends" => (8, &[]),
            "rotation" => (14, &[]),
            "truncation" => (16, &[Op::Truncate(0), Op::Truncate(0)]),
            "reopening" => (10, &[Op::Reopen, Op::Kill, Op::Reopen]),
            _ => (18, &[Op::Truncate(0), Op::Reopen, Op::Kill, Op::Truncate(0)]),
        };
        let size = sizes.count(&mut rng, [1, 2, 55, 140]);
        for index in 0..appends {
            if !rest.is_empty() && index != 0 && index % appends.div_ceil(rest.len() + 1) == 0 {
                match rest[index / appends.div_ceil(rest.len() + 1) - 1] {
                    Op::Truncate(_) => {
                        ops.push(Op::Commit);
                        ops.push(Op::Truncate((next_id - 1).saturating_sub([0, 1, 2][rng.below(3)])));
                    }
                    op => ops.push(op),
                }
            }
            ops.push(Op::Append(entry(&mut rng, kind, next_id, size, sizes)));
            next_id += 1;
            if rng.one_in(3) {
                ops.push(Op::Commit);
            }
        }
        if rng.one_in(3) {
            ops.push(Op::Reopen);
        }
        Self { name, options, ops, next_id, writes_zeros, files: Vec::new(), more_seed }
    }

    /// The disk that it begins on.
    pub fn disk(&self) -> Disk {
        let mut disk = Disk::new();
        if self.writes_zeros {
            disk.distrust_reserved();
        }
        self.files.iter().for_each(|(name, bytes)| disk.put(name, bytes));
        disk
    }

    /// How the log is opened after so many crashes: recoveries take turns in the mode that refuses damage
    /// and the one that does not.
    pub fn options_at(&self, depth: usize) -> WalOptions {
        let modes = match self.name.starts_with("skipping") {
            true => [RecoveryMode::SkipDamaged; 2],
            false => [RecoveryMode::PointInTime, RecoveryMode::TolerateTornTail],
        };
        self.options.clone().recovery_mode(modes[depth % 2])
    }

    /// A few more appends and commits, as follow a recovery after so many crashes.
    pub fn more(&self, depth: usize) -> Vec<Op> {
        let mut rng = Rng::new(self.more_seed ^ depth as u64);
        let next_id = self.next_id + 100 * u32::try_from(depth).unwrap();
        let mut ops = Vec::new();
        let size = [1, 55, 140][rng.below(3)];
        for index in 0..3 {
            ops.push(Op::Append(Entry::Samples { id: next_id + index, count: size }));
            if index == 1 || rng.one_in(3) {
                ops.push(Op::Commit);
            }
        }
        if rng.one_in(4) {
            ops.push(Op::Commit);
            ops.push(Op::Truncate(next_id + 1));
        }
        ops
    }
}

/// Kinds whose histories follow a plot rather than a count of appends.
fn is_plotted(kind: &str) -> bool {
    matches!(kind, "damage" | "skipping" | "full" | "poison" | "marks" | "backup" | "numbers")
}

/// A history that tells of one thing, between appends and commits; and the first number not used in it.
fn plotted(rng: &mut Rng, kind: &str, sizes: Sizes) -> (Vec<Op>, u32) {
    let size = sizes.count(rng, [1, 2, 30, 55]);
    let mut plot = Plot { ops: Vec::new(), next_id: 1, size, sizes, kind };
    plot.some(rng, 4);
    plot.ops.push(Op::Commit);
    for _ in 0..1 + rng.below(2) {
        match kind {
            "damage" | "skipping" => {
                plot.some(rng, 5);
                let at = u16::try_from(rng.below(usize::try_from(plot.next_id).unwrap() - 1)).unwrap();
                plot.ops.push(Op::Rot(at, rot(rng, kind)));
            }
            "full" => {
                plot.ops.push(Op::Full([0, 1, 2, 5][rng.below(4)]));
                plot.some(rng, 5);
                plot.ops.push(Op::Commit);
                for _ in 0..rng.below(3) {
                    let op = [Op::Kill, Op::Commit, Op::Truncate(plot.next_id - 1)][rng.below(3)];
                    plot.ops.push(op);
                }
                plot.some(rng, 2);
                plot.ops.extend([Op::Room, Op::Commit]);
                plot.ops.push([Op::Kill, Op::Reopen][rng.below(2)]);
            }
            "poison" => {
                plot.some(rng, 3);
                let nth = [1, 1, 2, 3, 4, 5][rng.below(6)];
                plot.ops.push(Op::FailSync(nth, rng.one_in(2)));
                if rng.one_in(2) {
                    plot.ops.push(Op::Truncate(plot.next_id - 1));
                }
                plot.some(rng, 3);
                plot.ops.extend([Op::Commit, Op::Kill]);
            }
            "marks" => {
                // None is remembered the first time, sometimes.
                if !rng.one_in(3) {
                    plot.ops.push(Op::SaveMark);
                }
                plot.some(rng, 4);
                plot.ops.extend([Op::Commit, Op::OldMark]);
            }
            "backup" => {
                plot.ops.push(Op::Backup);
                plot.some(rng, 3);
                plot.ops.push([Op::Kill, Op::Reopen, Op::Commit][rng.below(3)]);
                plot.ops.extend([Op::Commit, Op::Truncate(plot.next_id - 1)]);
            }
            _ => {
                plot.some(rng, 4);
                plot.ops.push([Op::Kill, Op::Reopen, Op::Commit][rng.below(3)]);
            }
        }
        plot.some(rng, 3);
    }
    (plot.ops, plot.next_id)
}

struct Plot<'a> {
    ops: Vec<Op>,
    next_id: u32,
    size: u16,
    sizes: Sizes,
    kind: &'a str,
}

impl Plot<'_> {
    /// Some appends, and now and then a commit.
    fn some(&mut self, rng: &mut Rng, appends: usize) {
        for _ in 0..appends {
            self.ops.push(Op::Append(entry(rng, self.kind, self.next_id, self.size, self.sizes)));
            self.next_id += 1;
            if rng.one_in(3) {
                self.ops.push(Op::Commit);
            }
        }
    }
}

fn rot(rng: &mut Rng, kind: &str) -> Rot {
    let bytes = u16::try_from(rng.below(600)).unwrap();
    // What is left of a segment without its header is for the tests of stepping over damage.
    match rng.below(if kind == "skipping" { 5 } else { 6 }) {
        5 => Rot::Header,
        0 => Rot::Bit(bytes),
        1 => Rot::Length,
        2 => Rot::Kind,
        3 => Rot::Zeros(bytes),
        _ => Rot::Garbage(bytes),
    }
}

fn entry(rng: &mut Rng, kind: &str, id: u32, size: u16, sizes: Sizes) -> Entry {
    let truncates = matches!(kind, "truncation" | "mixed" | "full" | "poison" | "backup");
    // What a truncation leaves where it was is what an old mark could still be taken to fit.
    if truncates && id == 1 {
        return Entry::Series { id, kept: 3 };
    }
    match rng.below(if truncates { 5 } else { 12 }) {
        0 | 1 => Entry::Series { id, kept: 3 },
        2 if truncates => Entry::Deletes { id },
        3 => Entry::Samples { id, count: sizes.count(rng, [1, 2, 55, 140]) },
        _ => Entry::Samples { id, count: size },
    }
}

/// How the log is opened, and whether it writes zeros ahead.
fn options(rng: &mut Rng, kind: &str, sizes: Sizes) -> (WalOptions, bool) {
    let small = !matches!(kind, "fresh" | "appends");
    let segment_bytes = if small { sizes.count(rng, [256, 512, 1024, 2048]) } else { 8192 };
    let preallocation =
        [Preallocation::ZeroFill, Preallocation::None, Preallocation::Fallocate][rng.below(3)];
    let options = WalOptions::default()
        .background_thread(false)
        .replay_threads(1)
        .segment_bytes_max(u64::from(segment_bytes))
        .buffer_bytes(4096)
        .window_bytes(4096)
        .preallocation(preallocation)
        .recovery_mode(if kind == "skipping" {
            RecoveryMode::SkipDamaged
        } else {
            RecoveryMode::PointInTime
        });
    (options, preallocation == Preallocation::ZeroFill)
}
