//! open-wal: for one writer. It syncs and checks sums (CRC-32C); what is not committed is in memory.

use std::path::Path;

use open_wal::{Lsn, Wal, WalConfig};

use super::SYNC_EVERY_BYTES;
use super::single::{self, Single};
use crate::peer::{Answer, Append, Peer, Purpose};
use crate::work::{Source, Totals};

pub(crate) const PEER: Peer = Peer {
    name: "open-wal",
    note: "",
    append: Append::Syncing,
    syncs: true,
    open: single::open::<Wal>,
    replay: Some(replay),
};

impl Single for Wal {
    fn open(dir: &Path, _: Purpose) -> Answer<Self> {
        Ok(Wal::open(dir, WalConfig::default())?.0)
    }

    fn append_all(&mut self, source: &mut Source<'_>) -> Answer<()> {
        let mut bytes = 0;
        while let Some(payload) = source.next() {
            self.append(payload)?;
            bytes += payload.len();
            if SYNC_EVERY_BYTES <= bytes {
                self.commit()?;
                bytes = 0;
            }
        }
        self.commit()?;
        Ok(())
    }

    fn put(&mut self, payload: &[u8]) -> Answer<()> {
        self.append(payload)?;
        Ok(())
    }

    fn sync(&mut self) -> Answer<()> {
        self.commit()?;
        Ok(())
    }

    fn close(self) -> Answer<()> {
        Ok(())
    }
}

fn replay(dir: &Path, totals: &mut Totals) -> Answer<()> {
    let (log, _) = Wal::open(dir, WalConfig::default())?;
    let mut reader = log.reader_from(Lsn(0))?;
    while let Some(record) = reader.next() {
        totals.take(record?.1)?;
    }
    Ok(())
}
