//! commitlog: messages with offsets, for one writer. It checks sums (CRC-32C) only when asked to, and cannot sync.

use std::path::Path;

use commitlog::message::MessageSet;
use commitlog::{CommitLog, LogOptions, ReadLimit};

use super::single::{self, Single};
use crate::peer::{Answer, Append, Peer, Purpose, not_this};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer = Peer {
    name: "commitlog",
    note: "cannot sync, reads unchecked",
    append: Append::Plain,
    syncs: false,
    open: single::open::<CommitLog>,
    replay: Some(replay),
};

impl Single for CommitLog {
    fn open(dir: &Path, _: Purpose) -> Answer<Self> {
        Ok(CommitLog::new(options(dir))?)
    }

    fn append_all(&mut self, source: &mut Source<'_>) -> Answer<()> {
        while let Some(payload) = source.next() {
            self.append_msg(payload)?;
        }
        Ok(())
    }

    fn put(&mut self, _: &[u8]) -> Answer<()> {
        not_this("commitlog")
    }

    fn sync(&mut self) -> Answer<()> {
        not_this("commitlog")
    }

    fn close(mut self) -> Answer<()> {
        // Its index goes to its file.
        Ok(self.flush()?)
    }
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let log = CommitLog::new(options(dir))?;
    let mut offset = 0;
    loop {
        let messages = log.read(offset, ReadLimit::max_bytes(READ_BYTES))?;
        let before = offset;
        for message in messages.iter() {
            totals.take(message.payload())?;
            offset = message.offset() + 1;
        }
        if offset == before {
            return Ok(());
        }
    }
}

fn options(dir: &Path) -> LogOptions {
    let mut options = LogOptions::new(dir);
    options.segment_max_bytes(SEGMENT_BYTES).index_max_items(INDEX_ITEMS);
    options
}

const SEGMENT_BYTES: usize = 128 << 20;
const INDEX_ITEMS: usize = 4_000_000;
const READ_BYTES: usize = 1 << 20;
