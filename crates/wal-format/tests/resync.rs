//! The search behind a fault: right on planted entries and on hostile bytes, in pieces of any size.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use proptest::prelude::*;
use wal_format::{EntryKind, Found, Progress, Resync, Step, frame_payload, next_entry};

fn len_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

fn entry(kind: EntryKind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame_payload(kind, 1, payload, &mut out).unwrap();
    out
}

fn samples_entry(payload: &[u8]) -> Vec<u8> {
    entry(EntryKind::Samples, payload)
}

/// Every place in turn, and the whole entry read at each: quadratic, and plainly right.
fn naive(bytes: &[u8]) -> Progress {
    for at in 0..bytes.len() {
        if let Step::Entry(entry) = next_entry(&bytes[at..], 0)
            && !entry.payload.is_empty()
        {
            let frame_bytes = u64::try_from(entry.frame_bytes()).unwrap();
            return Progress::Found(Found { offset: len_u64(&bytes[..at]), kind: entry.kind, frame_bytes });
        }
    }
    Progress::NotFound { exhausted: false }
}

fn search(bytes: &[u8], piece_bytes: usize) -> Progress {
    let mut resync = Resync::new(0, len_u64(bytes));
    let mut progress = resync.feed(&[]);
    for piece in bytes.chunks(piece_bytes) {
        progress = resync.feed(piece);
    }
    progress
}

fn found(progress: Progress) -> u64 {
    match progress {
        Progress::Found(found) => found.offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_found_in_nothing() {
    for len in 0..12 {
        assert_eq!(search(&vec![0; len], 1), Progress::NotFound { exhausted: false });
        assert_eq!(search(&vec![3; len], 5), Progress::NotFound { exhausted: false });
    }
    assert_eq!(Resync::new(9, 3).feed(b"abc"), Progress::NotFound { exhausted: false });
}

#[test]
fn an_empty_entry_is_passed_over() {
    let mut bytes = samples_entry(b"");
    assert_eq!(search(&bytes, 100), Progress::NotFound { exhausted: false });
    bytes.extend(samples_entry(b"x"));
    assert_eq!(found(search(&bytes, 3)), 10);
}

#[test]
fn an_entry_at_the_very_start_and_at_the_very_end_is_found() {
    for before in 0..20 {
        for piece in 1..20 {
            let mut bytes = vec![4; before];
            bytes.extend(samples_entry(b"payload"));
            assert_eq!(found(search(&bytes, piece)), u64::try_from(before).unwrap());
            bytes.pop();
            assert_eq!(search(&bytes, piece), Progress::NotFound { exhausted: false });
        }
    }
}

#[test]
fn the_entry_around_a_nested_one_is_preferred() {
    let inner = entry(EntryKind::Series, b"inner");
    let outer =
        samples_entry(&[b"text".as_slice(), &inner, b"more text", &samples_entry(b"second")].concat());
    let bytes = [b"debris".as_slice(), &outer, b"debris"].concat();
    for piece in [1, 7, 1000] {
        assert_eq!(search(&bytes, piece), naive(&bytes));
        assert_eq!(found(search(&bytes, piece)), 6);
    }
    // Without the outer one's checksum the inner one is all there is.
    let mut broken = bytes.clone();
    broken[6 + outer.len() - 1] ^= 1;
    assert_eq!(found(search(&broken, 7)), 6 + 6 + 4);
}

#[test]
fn an_answer_stays_and_bytes_past_the_end_are_ignored() {
    let bytes = samples_entry(b"x");
    let mut resync = Resync::new(70, 70 + len_u64(&bytes));
    assert_eq!(resync.feed(&bytes[..5]), Progress::More);
    let answer = resync.feed(&[&bytes[5..], &samples_entry(b"y")].concat());
    assert_eq!(answer, Progress::Found(Found { offset: 70, kind: EntryKind::Samples, frame_bytes: 11 }));
    assert_eq!(resync.feed(b"more"), answer);
}

#[test]
fn a_false_long_candidate_delays_the_answer_only_up_to_the_budget() {
    let mut head = vec![4, 1, 0x10, 0, 0, 0];
    head.extend(samples_entry(b"real"));
    let mut resync = Resync::new(0, 1 << 40);
    let mut progress = resync.feed(&head);
    let zeros = vec![0; 1 << 20];
    let mut fed = len_u64(&head);
    while progress == Progress::More {
        progress = resync.feed(&zeros);
        fed += len_u64(&zeros);
    }
    assert_eq!(found(progress), 6);
    assert!(fed <= Resync::LOOK_ON_BYTES + (2 << 20));
}

#[test]
fn hostile_patterns_are_searched_in_linear_time_and_hide_no_near_entry() {
    // Quadratic work on this many bytes would take hours; the test ends, and that is the assertion on time.
    let patterns: [&[u8]; 6] =
        [&[2], &[3], &[2, 3, 4], &[3, 0, 0, 0, 0], &[3, 3, 0, 0, 0, 1], &[4, 0, 0, 0xff, 0xff, 0, 2, 1]];
    for pattern in patterns {
        let mut bytes: Vec<u8> = pattern.iter().copied().cycle().take(512 << 10).collect();
        let planted = len_u64(&bytes);
        bytes.extend(samples_entry(b"the only entry there is"));
        bytes.extend(pattern.iter().copied().cycle().take(64 << 10));
        assert_eq!(found(search(&bytes, 1 << 16)), planted, "{pattern:?}");
    }
}

#[test]
fn dropped_candidates_are_reported() {
    // Places that all claim 0x02020202 bytes and fit: more of them than are kept.
    let bytes = vec![2; (1 << 20) + 100];
    let mut resync = Resync::new(0, 1 << 26);
    assert_eq!(resync.feed(&bytes), Progress::More);
    let zeros = vec![0; 1 << 20];
    let progress = (0..64).map(|_| resync.feed(&zeros)).last();
    assert_eq!(progress, Some(Progress::NotFound { exhausted: true }));
}

#[test]
fn a_near_entry_is_found_among_more_far_candidates_than_are_kept() {
    // Places that all claim 0x02020202 bytes and fit, more of them than are kept; the longest entry that is near; and
    // what was claimed.
    let mut bytes = vec![2; Resync::FAR_PENDING_MAX + 100];
    let planted = len_u64(&bytes);
    bytes.extend(samples_entry(&vec![0; usize::try_from(Resync::NEAR_FRAME_BYTES).unwrap() - 10]));
    bytes.resize(36 << 20, 0);
    assert_eq!(found(search(&bytes, 1 << 20)), planted);
}

#[test]
fn a_far_entry_is_found_while_there_is_room() {
    let far = usize::try_from(Resync::NEAR_FRAME_BYTES).unwrap();
    let bytes = [b"debris".as_slice(), &samples_entry(&vec![0; far]), &[2, 0]].concat();
    assert_eq!(found(search(&bytes, 1 << 16)), 6);
}

/// Bytes that look like entries far more often than chance would have it.
fn suspicious_bytes() -> impl Strategy<Value = Vec<u8>> {
    let planted = prop::collection::vec(any::<u8>(), 0..60).prop_map(|payload| samples_entry(&payload));
    let nested =
        (prop::collection::vec(0_u8..6, 0..9), prop::collection::vec(any::<u8>(), 1..20), any::<bool>())
            .prop_map(|(text, payload, whole)| {
                let inner = entry(EntryKind::Deletes, &payload);
                let mut outer = samples_entry(&[text.clone(), inner, text].concat());
                if !whole {
                    outer.pop();
                }
                outer
            });
    let head =
        (2_u8..5, any::<u8>(), any::<u8>()).prop_map(|(kind, flag, len)| vec![kind, flag, 0, 0, 0, len]);
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    let pattern =
        (prop::collection::vec(0_u8..5, 1..5), 1_usize..30).prop_map(|(bytes, times)| bytes.repeat(times));
    let cut = prop::collection::vec(any::<u8>(), 1..60).prop_map(|payload| {
        let mut bytes = samples_entry(&payload);
        bytes.truncate(bytes.len() * 2 / 3);
        bytes
    });
    let part = prop_oneof![planted, nested, head, noise, pattern, cut];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_search_agrees_with_the_naive_one(bytes in suspicious_bytes(), pieces in prop::collection::vec(1_usize..50, 1..20)) {
        let expected = naive(&bytes);
        prop_assert_eq!(search(&bytes, 1), expected);
        prop_assert_eq!(search(&bytes, bytes.len().max(1)), expected);
        let mut resync = Resync::new(0, len_u64(&bytes));
        let mut progress = resync.feed(&[]);
        let mut rest = bytes.as_slice();
        for piece in pieces.iter().copied().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(piece.min(rest.len()));
            progress = resync.feed(now);
            rest = later;
        }
        prop_assert_eq!(progress, expected);
    }
}
