//! okaywal: entries of chunks. It syncs and checks sums (CRC-32C); it has no commit without a sync.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use okaywal::{
    Configuration, Entry, EntryId, LogManager, LogVoid, ReadChunkResult, SegmentReader, WriteAheadLog,
};

use super::SYNC_EVERY_BYTES;
use crate::peer::{Answer, Append, Log, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer =
    Peer { name: "okaywal", note: "", append: Append::Syncing, syncs: true, open, replay: Some(replay) };

struct Okay(WriteAheadLog);

fn open(dir: &Path, purpose: Purpose) -> Answer<Box<dyn Log>> {
    let config = match purpose {
        Purpose::Append { bytes } => one_file(dir, bytes),
        // Files are used again after a checkpoint that has nothing to do.
        Purpose::Commit { .. } => config(dir, FILE_BYTES).checkpoint_after_bytes(FILE_BYTES / 4 * 3),
    };
    Ok(Box::new(Okay(config.open(LogVoid)?)))
}

impl Log for Okay {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        let mut more = true;
        while more {
            // A payload is a chunk, and an entry takes chunks until it is worth a sync.
            let mut entry = self.0.begin_entry()?;
            let mut bytes = 0;
            while bytes < SYNC_EVERY_BYTES {
                let Some(payload) = source.next() else {
                    more = false;
                    break;
                };
                entry.write_chunk(payload)?;
                bytes += payload.len();
            }
            entry.commit()?;
        }
        Ok(())
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        let mut entry = self.0.begin_entry()?;
        entry.write_chunk(payload)?;
        entry.commit()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(self.0.shutdown()?)
    }
}

/// It hands over what it holds while it opens, to something that it keeps.
fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let shared = Arc::new(Mutex::new(std::mem::take(totals)));
    let into = Into { totals: Arc::clone(&shared), chunk: Vec::new() };
    let bytes =
        std::fs::read_dir(dir)?.try_fold(0, |sum, file| file?.metadata().map(|data| sum + data.len()))?;
    let log = one_file(dir, bytes).open(into)?;
    *totals = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(log.shutdown()?)
}

#[derive(Debug)]
struct Into {
    totals: Arc<Mutex<Totals>>,
    chunk: Vec<u8>,
}

impl LogManager for Into {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            self.chunk.clear();
            chunk.read_to_end(&mut self.chunk)?;
            if !chunk.check_crc()? {
                return Err(io::Error::other("a chunk is damaged"));
            }
            totals.take(&self.chunk).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        Ok(())
    }
}

fn config(dir: &Path, file_bytes: u64) -> Configuration {
    let file_bytes = u32::try_from(file_bytes).unwrap_or(u32::MAX);
    Configuration::default_for(dir).preallocate_bytes(file_bytes).buffer_bytes(BUFFER_BYTES)
}

/// No checkpoint is ever due: it would drop what is to be replayed.
fn one_file(dir: &Path, bytes: u64) -> Configuration {
    config(dir, bytes + bytes / 8 + FILE_BYTES).checkpoint_after_bytes(u64::MAX)
}

const FILE_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
