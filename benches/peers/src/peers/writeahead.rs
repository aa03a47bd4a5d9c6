//! writeahead: a thread that writes, and futures that wait for it. It syncs and checks sums (Murmur3, 128 bits); it has
//! no write without a sync.

use std::path::Path;

use futures::StreamExt;
use futures::executor::block_on;
use writeahead::{SimpleFile, WriteAhead, WriteAheadOptions, WriteHandle};

use super::SYNC_EVERY_BYTES;
use crate::peer::{Answer, Append, Log, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer =
    Peer { name: "writeahead", note: "", append: Append::Syncing, syncs: true, open, replay: Some(replay) };

struct Ahead {
    handle: WriteHandle,
    /// Holds the lock of the directory.
    _log: WriteAhead<SimpleFile>,
}

fn open(dir: &Path, _: Purpose) -> Answer<Box<dyn Log>> {
    let log = start(dir)?;
    Ok(Box::new(Ahead { handle: log.writer()?, _log: log }))
}

impl Log for Ahead {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(payload) = source.next_owned() {
            bytes += payload.len();
            batch.push(payload);
            if SYNC_EVERY_BYTES <= bytes {
                block_on(self.handle.write_batch(std::mem::take(&mut batch)))?;
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            block_on(self.handle.write_batch(batch))?;
        }
        Ok(())
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        block_on(self.handle.write(payload.to_vec()))?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }
}

fn start(dir: &Path) -> Answer<WriteAhead<SimpleFile>> {
    let mut log = WriteAhead::with_options(WriteAheadOptions {
        log_dir: dir.to_path_buf(),
        max_file_size: FILE_BYTES,
        max_batch_bytes: 2 * SYNC_EVERY_BYTES,
        ..WriteAheadOptions::default()
    });
    log.start()?;
    Ok(log)
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let log = start(dir)?;
    let mut records = log.create_stream()?;
    block_on(async {
        while let Some(record) = records.next().await {
            totals.take(&record?.1)?;
        }
        Ok(())
    })
}

const FILE_BYTES: u64 = 128 << 20;
