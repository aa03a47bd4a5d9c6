//! raft-engine: a log engine for Raft. It syncs, checks sums (CRC-32), and keeps an index of all entries in memory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::peer::{Answer, Append, Log, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer = Peer {
    name: "raft-engine",
    note: "",
    append: Append::Plain,
    syncs: true,
    open: |dir, purpose| Ok(Box::new(Raft::open(dir, purpose)?)),
    replay: Some(replay),
};

/// A Raft entry: its index and a payload behind it.
#[derive(Clone)]
struct Numbered;

impl MessageExt for Numbered {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

struct Raft {
    engine: Engine,
    /// The next index of every group: one group a thread is the shape that it is made for.
    next: [AtomicU64; GROUPS],
}

impl Raft {
    fn open(dir: &Path, purpose: Purpose) -> Answer<Self> {
        let mut config = config(dir)?;
        if let Purpose::Commit { .. } = purpose {
            // Files filled with zeros ahead of use, which is what makes its syncs fast.
            config.prefill_for_recycle = true;
            config.target_file_size = ReadableSize::mb(FILE_MIB);
            config.prefill_limit = Some(ReadableSize::mb(PREFILLED_MIB));
        }
        Ok(Self { engine: Engine::open(config)?, next: std::array::from_fn(|_| AtomicU64::new(1)) })
    }

    fn write(&self, group: usize, payload: &[u8], sync: bool) -> Answer<()> {
        let next = self.next.get(group).ok_or("more threads than groups")?;
        let index = next.fetch_add(1, Ordering::Relaxed);
        let mut entry = BytesValue::new();
        entry.value.reserve(payload.len() + size_of_val(&index));
        entry.value.extend_from_slice(&index.to_le_bytes());
        entry.value.extend_from_slice(payload);
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Numbered>(group as u64, &[entry])?;
        self.engine.write(&mut batch, sync)?;
        Ok(())
    }
}

impl Log for Raft {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        while let Some(payload) = source.next() {
            self.write(0, payload, false)?;
        }
        Ok(())
    }

    fn commit(&self, lane: usize, payload: &[u8]) -> Answer<()> {
        self.write(lane, payload, true)
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }
}

fn config(dir: &Path) -> Answer<Config> {
    let dir = dir.to_str().ok_or("raft-engine takes only directories whose names are text")?;
    // Random values do not compress; without trying it is faster.
    Ok(Config { dir: dir.to_owned(), batch_compression_threshold: ReadableSize(0), ..Config::default() })
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let engine = Engine::open(config(dir)?)?;
    let (Some(first), Some(last)) = (engine.first_index(0), engine.last_index(0)) else { return Ok(()) };
    let mut entries: Vec<BytesValue> = Vec::new();
    let mut index = first;
    while index <= last {
        let end = (index + FETCH_ENTRIES).min(last + 1);
        entries.clear();
        engine.fetch_entries_to::<Numbered>(0, index, end, None, &mut entries)?;
        for entry in &entries {
            totals.take(entry.value.get(size_of::<u64>()..).ok_or("an entry without an index")?)?;
        }
        index = end;
    }
    Ok(())
}

const GROUPS: usize = 64;
const FETCH_ENTRIES: u64 = 1024;
const FILE_MIB: u64 = 32;
const PREFILLED_MIB: u64 = 64;
