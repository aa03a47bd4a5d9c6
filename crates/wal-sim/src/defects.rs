//! Seeded defects: mistakes that a log could make, one rule broken each, so that a test can see whether
//! its crashes and failing calls notice.
//!
//! A defect is made at the seam, by [`Broken`], so the log itself is the real one, and has no switch for it.

pub use crate::broken::Broken;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// None: for a test that the decorator itself changes nothing.
    None,
    /// The log directory is never synced.
    NoFolderSync,
    /// The log directory is synced some time later, behind the back of whoever asked.
    FolderSyncTooLate,
    /// The log directory's sync may fail, and nobody hears of it.
    FolderSyncErrorSwallowed,
    /// The parent of a fresh log directory is never synced.
    NoParentSync,
    /// Segments are never synced.
    NoSegmentSync,
    /// A segment that is finished is synced only after its successor has its name.
    SealSyncTooLate,
    /// A log that is closed cuts its last segment and does not sync it any more.
    NoCloseSync,
    /// A prepared segment gets its name before its header is durable.
    NoPreparedSync,
    /// The name of the next segment is not durable before entries go into it.
    NoRotationNameSync,
    /// A segment's sync may fail, and nobody hears of it.
    SyncErrorSwallowed,
    /// A segment's sync that failed is asked again, and its second answer believed.
    SyncTriedAgain,
    /// A segment's write may fail, and nobody hears of it.
    WriteErrorSwallowed,
    /// Writes to segments leave out their last byte and say nothing.
    WritesFallShort,
    /// Once a disk was full, no segment takes a write any more.
    FullForGood,
    /// The reserve of a full disk is not given back.
    ReserveKept,
    /// Space for entries is reserved where zeros were to be written.
    SpaceOnlyReserved,
    /// Both slots of the durable mark are written before something changes below it, and not synced.
    NoMarkSync,
    /// The durable mark is written before the sync that it speaks of.
    MarkBeforeSync,
    /// What a truncation keeps is not synced before it takes the place of the old.
    NoRewriteSync,
    /// The sync of what a truncation keeps may fail, and the sources go all the same.
    RewriteSyncErrorSwallowed,
    /// The names of what a truncation keeps are not durable before the intent is.
    NoRewriteNameSync,
    /// The removals of a truncation are not durable before the intent is cleared.
    NoRemovalSync,
    /// The intent of a truncation is not written.
    NoIntentWrite,
    /// The intent of a truncation is not durable before names change.
    NoIntentSync,
    /// The intent of a truncation is never cleared.
    NoIntentClear,
    /// What takes another file's place has that one removed first.
    TargetRemovedFirst,
    /// Tails are not cut.
    NoCut,
    /// Bytes behind the durable mark are not written again after a failed sync.
    NoRewriteOfShown,
    /// What repair puts into quarantine is not synced.
    NoQuarantineSync,
    /// What repair takes out of the log is thrown away.
    NoQuarantine,
    /// A hole of zeros is taken for the end of a segment, whatever stands behind it.
    BlindBehindZeros,
    /// A read that fails is taken for the end of the file.
    ReadErrorIsTheEnd,
    /// A read that falls short is taken for the end of the file.
    ShortReadIsTheEnd,
    /// A segment that cannot be opened is taken for an empty one.
    OpenErrorIsEmpty,
    /// Memory to read into is taken by a number that nobody checked.
    BuffersUnchecked,
    /// Segments whose names have more than six digits are passed over.
    LongNamesHidden,
}

/// All defects.
pub const DEFECTS: [Defect; 36] = [
    Defect::NoFolderSync,
    Defect::FolderSyncTooLate,
    Defect::FolderSyncErrorSwallowed,
    Defect::NoParentSync,
    Defect::NoSegmentSync,
    Defect::SealSyncTooLate,
    Defect::NoCloseSync,
    Defect::NoPreparedSync,
    Defect::NoRotationNameSync,
    Defect::SyncErrorSwallowed,
    Defect::SyncTriedAgain,
    Defect::WriteErrorSwallowed,
    Defect::WritesFallShort,
    Defect::FullForGood,
    Defect::ReserveKept,
    Defect::SpaceOnlyReserved,
    Defect::NoMarkSync,
    Defect::MarkBeforeSync,
    Defect::NoRewriteSync,
    Defect::RewriteSyncErrorSwallowed,
    Defect::NoRewriteNameSync,
    Defect::NoRemovalSync,
    Defect::NoIntentWrite,
    Defect::NoIntentSync,
    Defect::NoIntentClear,
    Defect::TargetRemovedFirst,
    Defect::NoCut,
    Defect::NoRewriteOfShown,
    Defect::NoQuarantineSync,
    Defect::NoQuarantine,
    Defect::BlindBehindZeros,
    Defect::ReadErrorIsTheEnd,
    Defect::ShortReadIsTheEnd,
    Defect::OpenErrorIsEmpty,
    Defect::BuffersUnchecked,
    Defect::LongNamesHidden,
];

/// What a defect breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaks {
    /// Rules of the log, R1 to R10, by their numbers.
    pub rules: &'static [u8],
    /// Faults of the reference that it brings back, by their numbers.
    pub faults: &'static [u8],
}

impl Defect {
    /// What it breaks.
    #[must_use]
    pub fn breaks(self) -> Breaks {
        let (rules, faults): (&[u8], &[u8]) = match self {
            Self::None => (&[], &[]),
            Self::NoFolderSync => (&[1, 2], &[2]),
            Self::FolderSyncTooLate | Self::NoRotationNameSync => (&[1], &[2]),
            Self::FolderSyncErrorSwallowed => (&[4], &[23]),
            Self::NoParentSync => (&[2], &[]),
            Self::NoSegmentSync | Self::SealSyncTooLate => (&[1], &[1]),
            Self::NoCloseSync => (&[1], &[3]),
            Self::NoPreparedSync => (&[1], &[]),
            Self::SyncErrorSwallowed | Self::SyncTriedAgain => (&[4], &[7]),
            Self::WriteErrorSwallowed => (&[4], &[5]),
            Self::WritesFallShort => (&[4], &[]),
            Self::FullForGood => (&[10], &[6]),
            Self::ReserveKept => (&[10], &[24]),
            Self::SpaceOnlyReserved => (&[9], &[]),
            Self::NoMarkSync | Self::MarkBeforeSync => (&[3], &[]),
            Self::NoRewriteSync | Self::RewriteSyncErrorSwallowed | Self::NoIntentSync => (&[5], &[23]),
            Self::NoRewriteNameSync | Self::NoRemovalSync => (&[5], &[23]),
            Self::NoIntentWrite | Self::NoIntentClear => (&[5], &[]),
            Self::TargetRemovedFirst => (&[2, 5], &[22]),
            Self::NoCut => (&[2], &[4]),
            Self::NoRewriteOfShown => (&[2], &[7]),
            Self::NoQuarantineSync | Self::NoQuarantine => (&[2], &[18]),
            Self::BlindBehindZeros => (&[2], &[17]),
            Self::ReadErrorIsTheEnd => (&[6], &[]),
            Self::ShortReadIsTheEnd => (&[6], &[19]),
            Self::OpenErrorIsEmpty => (&[6], &[9]),
            Self::BuffersUnchecked => (&[7], &[20]),
            Self::LongNamesHidden => (&[8], &[10]),
        };
        Breaks { rules, faults }
    }
}
