//! The peers, one file each.

use crate::peer::Peer;

mod commitlog;
mod nano_wal;
mod okaywal;
mod open_wal;
mod raft_engine;
mod seglog;
mod single;
mod wal_db;
mod writeahead;

/// All of them, in the order of the tables.
pub(crate) const ALL: [Peer; 8] = [
    raft_engine::PEER,
    okaywal::PEER,
    wal_db::PEER,
    open_wal::PEER,
    writeahead::PEER,
    seglog::PEER,
    commitlog::PEER,
    nano_wal::PEER,
];

/// Where a log has no append without a sync, so many bytes share one.
const SYNC_EVERY_BYTES: usize = 4 << 20;
