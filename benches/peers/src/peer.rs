//! What a peer must do here: take payloads, make them durable, give them back.

use std::error::Error;
use std::path::Path;

use crate::work::{Source, Totals};

/// Whatever fails ends the run: a figure of a log that did not work is none.
pub(crate) type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A log of somebody else's, through its public interface only.
pub(crate) struct Peer {
    /// The name of its crate; the version is the one pinned in the manifest.
    pub(crate) name: &'static str,
    /// What it leaves out of the work; nothing if it does all of it.
    pub(crate) note: &'static str,
    /// Whether it can append without a sync. If it cannot, a sync serves as much as `SYNC_EVERY_BYTES` says.
    pub(crate) append: Append,
    /// Whether it can make a record durable.
    pub(crate) syncs: bool,
    pub(crate) open: fn(&Path, Purpose) -> Answer<Box<dyn Log>>,
    /// Opens what `open` wrote and hands every payload over, in order. `None`: it has nothing to read a log from its
    /// start with.
    pub(crate) replay: Option<fn(&Path, &mut Totals) -> Answer<()>>,
}

/// How a peer appends where no sync is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Append {
    /// As asked.
    Plain,
    /// With a sync for every four megabytes.
    Syncing,
}

/// What a log is opened for: some have settings that suit one and not the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// About so many bytes of payloads, from one thread, without a sync.
    Append { bytes: u64 },
    /// Durable records from so many threads.
    Commit { threads: usize },
}

/// A peer's log, open for writing.
pub(crate) trait Log: Send + Sync {
    /// Takes every payload there is, and returns when all of them are with the kernel.
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()>;

    /// Takes one payload and returns when it is durable. `lane` is the number of the calling thread, from 0.
    fn commit(&self, lane: usize, payload: &[u8]) -> Answer<()>;

    /// Ends it, leaving a log that can be replayed. Not measured.
    fn close(self: Box<Self>) -> Answer<()>;
}

/// For what a peer was not opened for.
pub(crate) fn not_this<T>(name: &str) -> Answer<T> {
    Err(format!("{name} was opened for something else").into())
}

impl Peer {
    /// Name, version and what to know of it, for a table.
    pub(crate) fn label(&self) -> String {
        labelled(self.name, &[self.note])
    }

    /// The same where it appends.
    pub(crate) fn append_label(&self) -> String {
        let syncing = if self.append == Append::Syncing { "syncs every 4 MiB" } else { "" };
        labelled(self.name, &[self.note, syncing])
    }
}

fn labelled(name: &str, notes: &[&str]) -> String {
    let notes: Vec<&str> = notes.iter().copied().filter(|note| !note.is_empty()).collect();
    let version = pinned(name);
    if notes.is_empty() {
        format!("{name} {version}")
    } else {
        format!("{name} {version} ({})", notes.join(", "))
    }
}

/// The version of a peer in the manifest.
fn pinned(name: &str) -> &'static str {
    let line = MANIFEST.lines().find(|line| line.split(" = ").next() == Some(name));
    line.and_then(|line| line.split('"').find_map(|part| part.strip_prefix('='))).unwrap_or("?")
}

const MANIFEST: &str = include_str!("../Cargo.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_pinned_to_one_version() {
        for peer in crate::peers::ALL {
            assert!(pinned(peer.name).split('.').count() == 3, "{}", peer.name);
        }
    }
}
