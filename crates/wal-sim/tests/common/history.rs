//! Histories: what is done to a log between its creation and its end. Each follows from a name and a
//! seed.

use wal_engine::{Preallocation, RecoveryMode, WalOptions};
use wal_sim::Rng;

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
}

/// Whether a history, by its name, has rotation, truncation, repair or closing in it.
pub fn is_structural(name: &str) -> bool {
    !matches!(name.split(' ').next(), Some("fresh" | "appends"))
}

/// The kinds of histories.
pub const KINDS: [&str; 6] = ["fresh", "appends", "rotation", "truncation", "reopening", "mixed"];

impl History {
    /// The history of this name: a kind and a seed.
    pub fn named(name: &str) -> Option<Self> {
        let (kind, seed) = name.split_once(' ')?;
        Some(Self::new(KINDS.iter().find(|known| **known == kind)?, seed.parse().ok()?))
    }

    pub fn new(kind: &str, seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(31) ^ kind.len() as u64);
        let options = options(&mut rng, kind);
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
        let size = [1, 2, 55, 140][rng.below(4)];
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
            ops.push(Op::Append(entry(&mut rng, kind, next_id, size)));
            next_id += 1;
            if rng.one_in(3) {
                ops.push(Op::Commit);
            }
        }
        if rng.one_in(3) {
            ops.push(Op::Reopen);
        }
        Self { name: format!("{kind} {seed}"), options, ops, next_id }
    }

    /// How the log is opened after so many crashes: recoveries take turns in the mode that refuses damage
    /// and the one that does not.
    pub fn options_at(&self, depth: usize) -> WalOptions {
        let modes = [RecoveryMode::PointInTime, RecoveryMode::TolerateTornTail];
        self.options.clone().recovery_mode(modes[depth % 2])
    }

    /// A few more appends and commits, as follow a recovery after so many crashes.
    pub fn more(&self, depth: usize) -> Vec<Op> {
        let mut rng = Rng::new(depth as u64);
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

fn entry(rng: &mut Rng, kind: &str, id: u32, size: u16) -> Entry {
    let truncates = matches!(kind, "truncation" | "mixed");
    // What a truncation leaves where it was is what an old mark could still be taken to fit.
    if truncates && id == 1 {
        return Entry::Series { id, kept: 3 };
    }
    match rng.below(if truncates { 5 } else { 12 }) {
        0 | 1 => Entry::Series { id, kept: 3 },
        2 if truncates => Entry::Deletes { id },
        3 => Entry::Samples { id, count: [1, 2, 55, 140][rng.below(4)] },
        _ => Entry::Samples { id, count: size },
    }
}

fn options(rng: &mut Rng, kind: &str) -> WalOptions {
    let small = !matches!(kind, "fresh" | "appends");
    let segment_bytes = if small { [256, 512, 1024, 2048][rng.below(4)] } else { 8192 };
    let preallocation =
        [Preallocation::ZeroFill, Preallocation::None, Preallocation::Fallocate][rng.below(3)];
    WalOptions::default()
        .background_thread(false)
        .replay_threads(1)
        .segment_bytes_max(segment_bytes)
        .buffer_bytes(4096)
        .window_bytes(4096)
        .preallocation(preallocation)
        .recovery_mode(RecoveryMode::PointInTime)
}
