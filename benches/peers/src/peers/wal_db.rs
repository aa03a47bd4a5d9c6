//! wal-db: one write a record, without a lock. It syncs and checks sums (CRC-32C).

use std::path::Path;

use wal_db::{SegmentedStore, Wal};

use crate::peer::{Answer, Append, Log, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer =
    Peer { name: "wal-db", note: "", append: Append::Plain, syncs: true, open, replay: Some(replay) };

struct WalDb(Wal<SegmentedStore>);

fn open(dir: &Path, _: Purpose) -> Answer<Box<dyn Log>> {
    Ok(Box::new(WalDb(Wal::open_segmented(dir, SEGMENT_BYTES)?)))
}

impl Log for WalDb {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        while let Some(payload) = source.next() {
            let _ = self.0.append(payload)?;
        }
        Ok(())
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        let _ = self.0.append_and_sync(payload)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let log = Wal::open_segmented(dir, SEGMENT_BYTES)?;
    for record in log.iter()? {
        totals.take(record?.data())?;
    }
    Ok(())
}

const SEGMENT_BYTES: u64 = 128 << 20;
