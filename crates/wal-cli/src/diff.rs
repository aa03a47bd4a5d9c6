//! Two logs compared item by item, in bounded memory.
//!
//! While the next items are equal, both logs go on. Where they differ, the nearest item that both have is looked for
//! among those read ahead; if there is none, second readers look for one as far as it takes, remembering hashes.

mod near;
mod source;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use wal_engine::{Position, Verdict};

use self::near::nearest;
use self::source::{Scout, Source};
use crate::args::DiffArgs;
use crate::exit::{self, Failure};
use crate::item::{Counts, Item};
use crate::progress::{self, Progress};

/// What only one log has at one place.
pub(crate) struct Side<T> {
    /// The entry at which that begins, or the end of the log.
    pub(crate) at: Position,
    pub(crate) items: Counts,
    /// The first ones of them, as they are to be shown.
    pub(crate) first: Vec<T>,
}

/// One place at which the logs differ.
pub(crate) struct Difference<T> {
    pub(crate) a: Side<T>,
    pub(crate) b: Side<T>,
}

/// What comparing came to.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) both: Counts,
    pub(crate) only_a: Counts,
    pub(crate) only_b: Counts,
    pub(crate) differences: u64,
    pub(crate) verdict_a: Verdict,
    pub(crate) verdict_b: Verdict,
    /// Samples and deletes that no selector could judge.
    pub(crate) nameless: u64,
}

/// Compares two logs. Every difference goes to `tell`, its first items as `show` makes them; faults are said on
/// standard error.
pub(crate) fn compare<T>(
    args: &DiffArgs,
    show: impl Fn(Item<'_>) -> T,
    mut tell: impl FnMut(Difference<T>) -> Result<(), Failure>,
) -> Result<Summary, Failure> {
    let bytes = |dir: &Path| progress::log_bytes(dir).unwrap_or(0);
    let mut pair = Pair {
        a: Source::open(&args.a, args)?,
        b: Source::open(&args.b, args)?,
        progress: Progress::start("", Some(bytes(&args.a) + bytes(&args.b))),
    };
    let mut summary = Summary::default();
    loop {
        pair.fill(1)?;
        match (pair.a.front(), pair.b.front()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                summary.both.add(a);
                pair.a.advance();
                pair.b.advance();
            }
            _ => {
                let difference = pair.difference(&show)?;
                summary.differences += 1;
                summary.only_a.add_all(difference.a.items);
                summary.only_b.add_all(difference.b.items);
                tell(difference)?;
            }
        }
    }
    (summary.verdict_a, summary.verdict_b) = (pair.a.verdict, pair.b.verdict);
    summary.nameless = pair.a.filter.nameless() + pair.b.filter.nameless();
    Ok(summary)
}

/// Both logs, as far as they are compared.
struct Pair<'a> {
    a: Source<'a>,
    b: Source<'a>,
    progress: Progress,
}

impl Pair<'_> {
    /// Reads on until that many items are ahead in both, or to their ends.
    fn fill(&mut self, items: usize) -> Result<(), Failure> {
        let read = [self.a.fill(items)?, self.b.fill(items)?];
        if read.contains(&true) {
            self.progress.step(self.a.read_bytes() + self.b.read_bytes());
            let said = self.a.said.drain(..).chain(self.b.said.drain(..));
            said.for_each(|message| self.progress.aside(|| exit::warn(message)));
        }
        Ok(())
    }

    /// Goes on to where both logs have the same item again, or to their ends.
    fn difference<T>(&mut self, show: &impl Fn(Item<'_>) -> T) -> Result<Difference<T>, Failure> {
        let side = |at| Side { at, items: Counts::default(), first: Vec::new() };
        let mut difference = Difference { a: side(self.a.position()), b: side(self.b.position()) };
        loop {
            self.fill(NEAR)?;
            let near = nearest(self.a.items().take(NEAR), self.b.items().take(NEAR));
            let (skip_a, skip_b) = match near {
                Some(places) => places,
                None => self.far()?.unwrap_or((usize::MAX, usize::MAX)),
            };
            self.skip(skip_a, skip_b, &mut difference, show)?;
            if near.is_some() || self.a.front().is_none() || self.b.front().is_none() {
                // At the end of one log the rest of the other is all that is left.
                if near.is_none() {
                    self.skip(usize::MAX, usize::MAX, &mut difference, show)?;
                }
                return Ok(difference);
            }
        }
    }

    /// Goes on by so many items, or to the end.
    fn skip<T>(
        &mut self,
        items_a: usize,
        items_b: usize,
        difference: &mut Difference<T>,
        show: &impl Fn(Item<'_>) -> T,
    ) -> Result<(), Failure> {
        for (is_a, items) in [(true, items_a), (false, items_b)] {
            for _ in 0..items {
                let (source, side) =
                    if is_a { (&mut self.a, &mut difference.a) } else { (&mut self.b, &mut difference.b) };
                let Some(item) = source.front() else { break };
                side.items.add(item);
                if side.first.len() < SHOWN {
                    side.first.push(show(item));
                }
                source.advance();
                self.fill(1)?;
            }
        }
        Ok(())
    }

    /// How many items of each log to pass over, so that the next ones in common are among those read ahead then; none
    /// if there are none.
    fn far(&self) -> Result<Option<(usize, usize)>, Failure> {
        let (Some(a), Some(b)) = (self.a.scout()?, self.b.scout()?) else { return Ok(None) };
        let hasher = RandomState::new();
        let mut a = Trail::new(a, self.a.items(), &hasher);
        let mut b = Trail::new(b, self.b.items(), &hasher);
        while !(a.ended && b.ended) {
            let a_is_next = b.ended || (!a.ended && a.items <= b.items);
            let found = match a_is_next {
                true => a.step(&b, &hasher)?,
                false => b.step(&a, &hasher)?.map(|(in_b, in_a)| (in_a, in_b)),
            };
            if let Some((in_a, in_b)) = found {
                // Not every item is remembered, so the first ones in common may be a little before these.
                let back = (NEAR / 2).min(in_a).min(in_b);
                let skip = (in_a - back, in_b - back);
                return Ok((skip != (0, 0)).then_some(skip));
            }
        }
        Ok(None)
    }
}

/// What a second reader remembers of a log.
struct Trail {
    scout: Scout,
    places: HashMap<u64, usize>,
    items: usize,
    ended: bool,
}

impl Trail {
    /// Begins with all items that were read ahead.
    fn new<'a>(scout: Scout, ahead: impl Iterator<Item = Item<'a>>, hasher: &RandomState) -> Self {
        let mut trail = Self { scout, places: HashMap::new(), items: 0, ended: false };
        for item in ahead {
            trail.places.entry(hasher.hash_one(item)).or_insert(trail.items);
            trail.items += 1;
        }
        trail
    }

    /// Reads one entry; says where in both logs an item of it is, if the other one has it.
    fn step(&mut self, other: &Trail, hasher: &RandomState) -> Result<Option<(usize, usize)>, Failure> {
        let Some(batch) = self.scout.next()? else {
            self.ended = true;
            return Ok(None);
        };
        for item in batch.items(0) {
            let hash = hasher.hash_one(item);
            if let Some(&in_other) = other.places.get(&hash) {
                return Ok(Some((self.items, in_other)));
            }
            // Both logs remember the same ones, and so meet.
            if hash % REMEMBERED_OF == 0 && self.places.len() < REMEMBERED_MAX {
                self.places.entry(hash).or_insert(self.items);
            }
            self.items += 1;
        }
        Ok(None)
    }
}

/// How many items of a difference are shown of each log.
pub(crate) const SHOWN: usize = 5;
/// How many items are read ahead to find where the logs go on alike.
const NEAR: usize = 2048;
/// Of that many items further away one is remembered.
const REMEMBERED_OF: u64 = 64;
/// Some 32 MiB for each log.
const REMEMBERED_MAX: usize = 1 << 20;
