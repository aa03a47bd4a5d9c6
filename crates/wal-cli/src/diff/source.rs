//! One of the two logs: its items in order, with the entries they lie in, a few of them read ahead.

use std::collections::VecDeque;
use std::path::Path;

use wal_engine::{ErrorKind, LogEntry, Position, ReadEvent, ReadOptions, Verdict, WalReader};
use wal_format::Payload;
use wal_types::{Sample, Series, StoneRow};

use crate::args::DiffArgs;
use crate::exit::Failure;
use crate::faults;
use crate::filter::Filter;
use crate::item::Item;

/// The wanted items of one entry.
pub(super) struct Batch {
    /// Where the entry begins.
    pub(super) at: Position,
    items: Items,
}

enum Items {
    Series(Vec<Series>),
    Samples(Vec<Sample>),
    Deletes(Vec<StoneRow>),
}

impl Batch {
    /// Decodes what is wanted of an entry; none if that is nothing.
    pub(super) fn of(entry: &LogEntry<'_>, filter: &mut Filter) -> Option<Self> {
        if !filter.look_at(entry) {
            return None;
        }
        let items = match &entry.payload {
            Payload::Series(payload) => Items::Series(
                payload.iter().filter(|it| filter.wants_series(it)).map(|it| it.to_series()).collect(),
            ),
            Payload::Samples(payload) => {
                Items::Samples(payload.iter().filter(|it| filter.wants_sample(it)).collect())
            }
            Payload::Deletes(payload) => {
                Items::Deletes(payload.iter().filter(|it| filter.wants_row(it)).collect())
            }
        };
        let batch = Self { at: entry.at, items };
        (batch.len() != 0).then_some(batch)
    }

    fn len(&self) -> usize {
        match &self.items {
            Items::Series(items) => items.len(),
            Items::Samples(items) => items.len(),
            Items::Deletes(items) => items.len(),
        }
    }

    fn get(&self, index: usize) -> Option<Item<'_>> {
        match &self.items {
            Items::Series(items) => items.get(index).map(Item::Series),
            Items::Samples(items) => items.get(index).copied().map(Item::Sample),
            Items::Deletes(items) => items.get(index).copied().map(Item::Delete),
        }
    }

    /// The items from that one on.
    pub(super) fn items(&self, from: usize) -> impl Iterator<Item = Item<'_>> + Clone {
        (from..self.len()).filter_map(|index| self.get(index))
    }
}

/// A log that is compared.
pub(super) struct Source<'a> {
    dir: &'a Path,
    args: &'a DiffArgs,
    reader: WalReader,
    pub(super) filter: Filter,
    batches: VecDeque<Batch>,
    /// How many items of the first batch are done with.
    done: usize,
    ahead: usize,
    /// Behind the last entry that was read.
    end: Position,
    ended: bool,
    sealed_bytes: u64,
    /// The first fault's, or that of a log without one.
    pub(super) verdict: Verdict,
    /// What is to be said about faults and malformed entries.
    pub(super) said: Vec<String>,
}

impl<'a> Source<'a> {
    pub(super) fn open(dir: &'a Path, args: &'a DiffArgs) -> Result<Self, Failure> {
        let reader = WalReader::open(dir, options(args)).map_err(|error| Failure::engine(dir, &error))?;
        Ok(Self {
            dir,
            args,
            reader,
            filter: Filter::new(&args.filter)?,
            batches: VecDeque::new(),
            done: 0,
            ahead: 0,
            end: Position::default(),
            ended: false,
            sealed_bytes: 0,
            verdict: Verdict::Clean,
            said: Vec::new(),
        })
    }

    /// Reads until that many items are ahead, or to the end. Says whether it had to read.
    pub(super) fn fill(&mut self, items: usize) -> Result<bool, Failure> {
        if items <= self.ahead || self.ended {
            return Ok(false);
        }
        while self.ahead < items {
            let Some(event) = self.reader.next().map_err(|error| Failure::engine(self.dir, &error))? else {
                self.ended = true;
                break;
            };
            match event {
                ReadEvent::Entry(entry) => {
                    self.end = entry.end;
                    if let Some(batch) = Batch::of(&entry, &mut self.filter) {
                        self.ahead += batch.len();
                        self.batches.push_back(batch);
                    }
                }
                ReadEvent::Malformed { at, error } => self.said.push(faults::malformed(self.dir, at, &error)),
                ReadEvent::Gap(gap, fault) => {
                    let next = self.next_step(&fault);
                    self.said.push(faults::gap(self.dir, &gap, &fault) + &next);
                }
                ReadEvent::Fault(fault) => {
                    let next = self.next_step(&fault);
                    self.said.push(faults::fault(self.dir, &fault) + "; compared up to there" + &next);
                }
                ReadEvent::SegmentEnd(summary) => self.sealed_bytes += summary.bytes,
                _ => {}
            }
        }
        Ok(true)
    }

    /// The first fault gives the verdict, and the next step to be said with it.
    fn next_step(&mut self, fault: &wal_engine::Fault) -> String {
        if self.verdict != Verdict::Clean {
            return String::new();
        }
        self.verdict = fault.verdict;
        faults::next_step(self.dir, fault)
    }

    /// The next item, if one was read.
    pub(super) fn front(&self) -> Option<Item<'_>> {
        self.batches.front().and_then(|batch| batch.get(self.done))
    }

    /// Where the next item's entry begins; the end of the log behind the last one.
    pub(super) fn position(&self) -> Position {
        self.batches.front().map_or(self.end, |batch| batch.at)
    }

    /// All items that were read ahead.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> + Clone {
        let first = self.batches.iter().take(1).flat_map(|batch| batch.items(self.done));
        first.chain(self.batches.iter().skip(1).flat_map(|batch| batch.items(0)))
    }

    /// Goes on to the next item.
    pub(super) fn advance(&mut self) {
        let Some(first) = self.batches.front() else { return };
        self.done += 1;
        self.ahead -= 1;
        if self.done == first.len() {
            self.batches.pop_front();
            self.done = 0;
        }
    }

    /// Bytes of the log that were read.
    pub(super) fn read_bytes(&self) -> u64 {
        self.sealed_bytes + self.end.offset
    }

    /// Reads the log a second time, from behind what was read ahead; none where there is nothing ahead.
    pub(super) fn scout(&self) -> Result<Option<Scout>, Failure> {
        let Some(last) = self.batches.back().map(|batch| batch.at) else { return Ok(None) };
        let reader = WalReader::open(self.dir, options(self.args).from(last))
            .map_err(|error| Failure::engine(self.dir, &error))?;
        Ok(Some(Scout { dir: self.dir.to_owned(), reader, filter: self.filter.clone(), last }))
    }
}

/// A second reader of a log, which looks far ahead.
pub(super) struct Scout {
    dir: std::path::PathBuf,
    reader: WalReader,
    filter: Filter,
    /// The last entry that is known already.
    last: Position,
}

impl Scout {
    /// The next entry with wanted items; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, Failure> {
        loop {
            match self.reader.next() {
                // It is told when it is met again.
                Err(error) if error.kind() == ErrorKind::TooLarge => return Ok(None),
                Err(error) => return Err(Failure::engine(&self.dir, &error)),
                Ok(None) => return Ok(None),
                Ok(Some(ReadEvent::Entry(entry))) if self.last < entry.at => {
                    if let Some(batch) = Batch::of(&entry, &mut self.filter) {
                        return Ok(Some(batch));
                    }
                }
                Ok(Some(_)) => {}
            }
        }
    }
}

fn options(args: &DiffArgs) -> ReadOptions {
    ReadOptions::default().skip_damaged(args.skip_damaged).entry_bytes_max(args.limit.entry_limit)
}
