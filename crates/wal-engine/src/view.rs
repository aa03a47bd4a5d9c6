//! A log directory as it is to be read: segments in order, the mark, a pending truncation finished.

use std::sync::Arc;

use wal_format::layout;
use wal_segment::dir::segment_number;
use wal_segment::os::{LOCK_FILE, QUARANTINE_FOLDER};
use wal_segment::{Listing, SegmentFile, Storage};

use crate::error::{Error, Result};
use crate::intent::{self, INTENT_FILE, IntentStep};
use crate::mark::{self, MARK_FILE, Mark, MarkStatus};

/// The name of the file that is given back when the disk is full.
pub(crate) const RESERVE_FILE: &str = "reserve";

const KNOWN: [&str; 5] = [LOCK_FILE, QUARANTINE_FOLDER, MARK_FILE, INTENT_FILE, RESERVE_FILE];

/// What was found in a log directory.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) segments: Vec<SegmentFile>,
    pub(crate) temporaries: Vec<String>,
    pub(crate) others: Vec<String>,
    pub(crate) mark: Option<Mark>,
    pub(crate) mark_status: MarkStatus,
    pub(crate) intent: Vec<IntentStep>,
}

impl View {
    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Reads the directory. The mark is loaded before the names are listed: it may then be older than
    /// the segments, which is harmless, and never newer.
    pub(crate) fn read(storage: Arc<dyn Storage>) -> Result<Self> {
        let (mark, mut mark_status) =
            mark::load(&*storage).map_err(|error| Error::file("read", storage.path(MARK_FILE), error))?;
        let mut intent = load_intent(&*storage)?;
        let mut listing = list(&*storage)?;
        // A truncation may have begun or ended between the two looks; it is over in moments, and two
        // equal answers around a listing belong together.
        for _ in 0..100 {
            let again = load_intent(&*storage)?;
            if again == intent {
                break;
            }
            intent = again;
            listing = list(&*storage)?;
        }
        let listing = intent::apply_to_listing(listing, &intent);
        if let MarkStatus::DoesNotFit(at) = mark_status {
            if listing.segments.iter().any(|segment| segment.number == at.segment) {
                mark_status = MarkStatus::NotReached(at);
            }
        }
        Ok(Self {
            storage,
            segments: listing.segments,
            temporaries: listing.temporaries,
            others: listing.others,
            mark,
            mark_status,
            intent,
        })
    }

    /// The first number above every one in the directory, in quarantine and in the mark. The last number of all
    /// comes again while only a mark at its very beginning names it: nothing was written there.
    pub(crate) fn next_number(&self) -> Result<u64> {
        let quarantined = crate::quarantine::highest_number(&*self.storage)?;
        let listed = self.segments.last().map(|segment| segment.number);
        let marked = self.mark.as_ref().map(|mark| mark.position.segment);
        let floor = self.mark.as_ref().map_or(1, |mark| mark.floor.max(1));
        match [listed, quarantined, marked].into_iter().flatten().max() {
            None => Ok(floor),
            Some(u64::MAX) if listed.max(quarantined) < marked && self.mark_is_at_a_beginning() => {
                Ok(u64::MAX)
            }
            Some(highest) if listed.max(quarantined) < marked => {
                let number = next_after(highest).map_err(|error| {
                    // The only number that none follows stands in the mark alone.
                    let what =
                        format!("there is no segment number after {highest}, which the durable mark names");
                    let next = "if the mark is of another log, move it out of the directory";
                    Error::new(error.kind(), what, next).with_path(self.storage.path(MARK_FILE))
                })?;
                Ok(number.max(floor))
            }
            Some(highest) => Ok(next_after(highest)?.max(floor)),
        }
    }

    fn mark_is_at_a_beginning(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.position.offset <= layout::HEADER_BYTES as u64)
    }
}

/// The segment number behind another.
pub(crate) fn next_after(number: u64) -> Result<u64> {
    number.checked_add(1).ok_or_else(|| {
        Error::new(
            crate::ErrorKind::NumbersExhausted,
            format!("there is no segment number after {number}"),
            "move the segment with that number out of the directory, or start a fresh log",
        )
    })
}

fn list(storage: &dyn Storage) -> Result<Listing> {
    let mut listing = Listing::read(storage, &KNOWN)
        .map_err(|error| Error::file("read the log directory", storage.path(""), error))?;
    // A rewritten segment waits under a name that begins with a number; it is no segment yet.
    listing.others.retain(|name| segment_number(name).is_none());
    Ok(listing)
}

fn load_intent(storage: &dyn Storage) -> Result<Vec<IntentStep>> {
    intent::load(storage).map_err(|error| Error::file("read", storage.path(INTENT_FILE), error))
}
