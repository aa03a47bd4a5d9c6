//! The verdict table, and the actions that follow from it: pure functions of facts.

use wal_segment::{Reason, Verdict};

use crate::options::RecoveryMode;

/// Which segment the fault lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The one with the highest number: a crash can have cut its last write short.
    Last,
    /// Any other. It was finished and synced before the next one got its name, so no crash explains
    /// a fault in it.
    Earlier,
}

/// Where the fault lies, seen from a durable mark that belongs to this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Against {
    /// Below it: these bytes were durable.
    BelowMark,
    /// At or above it, in the mark's segment: nobody was told that these bytes are durable.
    AboveMark,
    /// No fitting mark in this segment.
    Unmarked,
}

/// What lies behind the fault in the same segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Behind {
    /// A valid entry that is not empty starts somewhere behind.
    Entry,
    /// None does.
    Nothing,
    /// The search gave up on hostile bytes.
    Unknown,
}

/// The verdict on a fault. The rows are those of the table in docs/DURABILITY.md.
pub(crate) fn verdict(place: Place, against: Against, reason: &Reason, behind: Behind) -> Verdict {
    match (reason, against, place, behind) {
        // A version that we do not know says nothing about damage, wherever it stands.
        (Reason::UnsupportedVersion(_), ..) => Verdict::Unsupported,
        // What was durable and cannot be read is damage, whatever it looks like.
        (_, Against::BelowMark, ..) | (Reason::EndsBelowMark { .. }, ..) => Verdict::Damaged,
        (_, _, Place::Earlier, _) => Verdict::Damaged,
        // From here on: the last segment, and no mark against it.
        (Reason::Empty, ..) => Verdict::Clean,
        (Reason::ShortHeader { .. } | Reason::ZeroHeader { .. }, ..) => Verdict::Torn,
        // Pages of the last writes can reach the disk out of order, so a hole of zeros with entries
        // behind it is the mark of power loss, not of rot.
        (Reason::AfterEndMark { .. }, ..) => Verdict::Torn,
        (Reason::Entry(_), Against::AboveMark, ..) => Verdict::Torn,
        (Reason::Entry(_), _, _, Behind::Nothing) => Verdict::Torn,
        // An entry with another one behind it, or with hostile bytes where none could be ruled out; wrong magic, a
        // name that is no file, and whatever reasons come later.
        _ => Verdict::Damaged,
    }
}

/// Whether the verdict depends on what lies behind the fault, so that it is worth searching.
pub(crate) fn needs_search(place: Place, against: Against, reason: &Reason) -> bool {
    place == Place::Last && against == Against::Unmarked && matches!(reason, Reason::Entry(_))
}

/// What opening does about a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing is at fault.
    Nothing,
    /// An error; nothing is changed.
    Refuse,
    /// The log ends at the fault; what is behind goes to quarantine.
    Cut,
    /// Reading goes on behind the fault; the gap goes to quarantine.
    Skip,
}

/// What a mode does about a verdict.
pub(crate) fn action(mode: RecoveryMode, verdict: Verdict) -> Action {
    match (verdict, mode) {
        (Verdict::Clean, _) => Action::Nothing,
        (Verdict::Unsupported, _) | (Verdict::Torn | Verdict::Damaged, RecoveryMode::Strict) => {
            Action::Refuse
        }
        (Verdict::Torn, _) => Action::Cut,
        (Verdict::Damaged, RecoveryMode::TolerateTornTail) => Action::Refuse,
        (Verdict::Damaged, RecoveryMode::PointInTime) => Action::Cut,
        (Verdict::Damaged, RecoveryMode::SkipDamaged) => Action::Skip,
    }
}

/// Whether an entry of `frame` bytes goes into the next segment: a segment never passes its size
/// unless one entry alone does, and that one gets a segment to itself.
pub(crate) fn rotates(offset: u64, frame: u64, segment_bytes_max: u64) -> bool {
    let empty = wal_format::layout::HEADER_BYTES as u64;
    empty < offset && segment_bytes_max < offset.saturating_add(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_format::EntryFault;

    const PLACES: [Place; 2] = [Place::Last, Place::Earlier];
    const AGAINST: [Against; 3] = [Against::BelowMark, Against::AboveMark, Against::Unmarked];
    const BEHIND: [Behind; 3] = [Behind::Entry, Behind::Nothing, Behind::Unknown];

    fn reasons() -> Vec<Reason> {
        vec![
            Reason::Empty,
            Reason::ShortHeader { have: 3 },
            Reason::ZeroHeader { have: 4096 },
            Reason::WrongMagic(1),
            Reason::UnsupportedVersion(2),
            Reason::Entry(EntryFault::Incomplete { have: 3 }),
            Reason::Entry(EntryFault::UnknownKind(9)),
            Reason::Entry(EntryFault::PastEnd { frame_bytes: 99, have: 7 }),
            Reason::Entry(EntryFault::Checksum { stored: 1, computed: 2 }),
            Reason::AfterEndMark { first_at: 9 },
            Reason::EndsBelowMark { mark: 99 },
            Reason::NotAFile,
        ]
    }

    /// The table once more, written the other way round: which rows are torn or clean.
    fn by_the_document(place: Place, against: Against, reason: &Reason, behind: Behind) -> Verdict {
        if matches!(reason, Reason::UnsupportedVersion(_)) {
            return Verdict::Unsupported;
        }
        let can_be_torn = place == Place::Last && against != Against::BelowMark;
        let torn = match reason {
            Reason::ShortHeader { .. } | Reason::ZeroHeader { .. } | Reason::AfterEndMark { .. } => true,
            Reason::Entry(_) => behind == Behind::Nothing || against == Against::AboveMark,
            _ => false,
        };
        match (can_be_torn, torn) {
            (true, true) => Verdict::Torn,
            (true, false) if *reason == Reason::Empty => Verdict::Clean,
            _ => Verdict::Damaged,
        }
    }

    #[test]
    fn the_table_is_total_and_agrees_with_its_second_writing() {
        let mut rows = 0;
        for place in PLACES {
            for against in AGAINST {
                for behind in BEHIND {
                    for reason in reasons() {
                        let got = verdict(place, against, &reason, behind);
                        let want = by_the_document(place, against, &reason, behind);
                        assert_eq!(got, want, "{place:?} {against:?} {reason:?} {behind:?}");
                        rows += 1;
                    }
                }
            }
        }
        assert_eq!(rows, 2 * 3 * 3 * 12);
    }

    #[test]
    fn what_lies_behind_matters_only_where_the_search_is_asked_for() {
        for place in PLACES {
            for against in AGAINST {
                for reason in reasons() {
                    let verdicts = BEHIND.map(|behind| verdict(place, against, &reason, behind));
                    let differs = verdicts.iter().any(|v| *v != verdicts[0]);
                    assert_eq!(differs, needs_search(place, against, &reason), "{reason:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_below_the_mark_is_ever_cut_as_torn() {
        for place in PLACES {
            for behind in BEHIND {
                for reason in reasons() {
                    let verdict = verdict(place, Against::BelowMark, &reason, behind);
                    assert!(!matches!(verdict, Verdict::Torn | Verdict::Clean), "{reason:?}");
                }
            }
        }
    }

    #[test]
    fn only_the_modes_that_say_so_change_a_damaged_log() {
        use RecoveryMode::{PointInTime, SkipDamaged, Strict, TolerateTornTail};
        let act = |mode| action(mode, Verdict::Damaged);
        assert_eq!([Strict, TolerateTornTail].map(act), [Action::Refuse; 2]);
        assert_eq!([PointInTime, SkipDamaged].map(act), [Action::Cut, Action::Skip]);
        for mode in [Strict, TolerateTornTail, PointInTime, SkipDamaged] {
            assert_eq!(action(mode, Verdict::Unsupported), Action::Refuse);
            assert_eq!(action(mode, Verdict::Clean), Action::Nothing);
        }
    }

    #[test]
    fn an_oversize_entry_gets_a_segment_to_itself() {
        assert!(!rotates(8, 5000, 4096), "an empty segment takes any entry");
        assert!(rotates(5008, 10, 4096), "nothing joins it");
        assert!(!rotates(4000, 96, 4096), "exactly full is not over");
        assert!(rotates(4000, 97, 4096));
    }
}
