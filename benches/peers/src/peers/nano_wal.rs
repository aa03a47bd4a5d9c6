//! nano-wal: one vectored write a record. It syncs, has no checksum, and reads only what its user remembers the place of.

use std::path::Path;
use std::time::Duration;

use nano_wal::{Wal, WalOptions};

use crate::peer::{Answer, Append, Log, Peer, Purpose};
use crate::work::Source;

pub(crate) const PEER: Peer =
    Peer { name: "nano-wal", note: "no checksum", append: Append::Plain, syncs: true, open, replay: None };

struct Nano(Wal);

fn open(dir: &Path, _: Purpose) -> Answer<Box<dyn Log>> {
    let options = WalOptions { retention: FOREVER, segment_duration: FOREVER };
    Ok(Box::new(Nano(Wal::new(dir, "log", options)?)))
}

impl Log for Nano {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        while let Some(payload) = source.next() {
            self.0.append(None, payload, TIME_MS, false)?;
        }
        Ok(())
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        self.0.append(None, payload, TIME_MS, true)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        Ok(())
    }
}

const FOREVER: Duration = Duration::from_secs(1 << 30);
/// Its segments are named by time; one time makes one segment.
const TIME_MS: i64 = 1_700_000_000_000;
