//! seglog: one preallocated segment for one writer. It syncs and checks sums (CRC-32C).

use std::path::{Path, PathBuf};

use seglog::read::Reader;
use seglog::write::Writer;

use super::single::{self, Single};
use crate::peer::{Answer, Append, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer = Peer {
    name: "seglog",
    note: "",
    append: Append::Plain,
    syncs: true,
    open: single::open::<Segments>,
    replay: Some(replay),
};

/// Its segments are files; that one follows another is its user's business.
struct Segments {
    dir: PathBuf,
    number: u64,
    bytes: usize,
    writer: Writer<0>,
    records: u64,
}

impl Segments {
    fn make_room(&mut self, payload_bytes: usize) -> Answer<()> {
        if self.writer.remaining_bytes() < (payload_bytes + SPARE_BYTES) as u64 {
            self.writer.commit(self.records)?;
            self.number += 1;
            self.writer = Writer::create(path(&self.dir, self.number), self.bytes, 0)?;
        }
        Ok(())
    }
}

impl Single for Segments {
    fn open(dir: &Path, purpose: Purpose) -> Answer<Self> {
        let bytes = match purpose {
            // One segment, so that none is finished with a sync.
            Purpose::Append { bytes } => usize::try_from(bytes + bytes / 4)? + SEGMENT_BYTES,
            Purpose::Commit { .. } => SEGMENT_BYTES,
        };
        let writer = Writer::create(path(dir, 0), bytes, 0)?;
        Ok(Self { dir: dir.to_path_buf(), number: 0, bytes, writer, records: 0 })
    }

    fn append_all(&mut self, source: &mut Source<'_>) -> Answer<()> {
        while let Some(payload) = source.next() {
            self.writer.append_data(payload)?;
            self.records += 1;
        }
        Ok(self.writer.flush_writer()?)
    }

    fn put(&mut self, payload: &[u8]) -> Answer<()> {
        self.make_room(payload.len())?;
        self.writer.append_data(payload)?;
        self.records += 1;
        Ok(())
    }

    fn sync(&mut self) -> Answer<()> {
        self.writer.commit(self.records)?;
        Ok(())
    }

    fn close(mut self) -> Answer<()> {
        self.sync()
    }
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let path = path(dir, 0);
    let bytes = usize::try_from(std::fs::metadata(&path)?.len())?;
    let writer = Writer::<0>::open(&path, bytes, 0)?;
    let mut reader = Reader::<0>::open(&path, Some(writer.flushed_offset()))?;
    let mut records = reader.iter(0);
    while let Some(record) = records.next_record()? {
        totals.take(record.data.as_ref())?;
    }
    Ok(())
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number}.seg"))
}

const SEGMENT_BYTES: usize = 64 << 20;
/// More than a record and a commit take beside the payload.
const SPARE_BYTES: usize = 64;
