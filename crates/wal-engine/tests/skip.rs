//! `SkipDamaged`: everything that was not touched comes back, nothing that was not written does, and
//! what can happen where a label's text looks like an entry.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::sync::Arc;

use common::image::{
    Image, log_some, mark_of, open, open_wal, plain, read, segments, three_segments, with_bits, with_file,
};
use common::{Item, sample};
use wal_engine::{Labels, RecoveryMode, Series, SeriesRef, Verdict, Wal};
use wal_format::{EntryKind, frame_payload};
use wal_segment::dir::segment_name;
use wal_sim::{Disk, Rng, SimDisk};

const SEED: u64 = 0x5eed_0001;
const CASES: u64 = 1500;

#[test]
fn overwritten_bytes_lose_the_entries_they_touch_and_no_other() {
    let image = three_segments();
    assert_eq!(mark_of(&image.disk).position, image.end());
    let (mut damaged, mut lost_entries) = (0, 0);
    for case in 0..CASES {
        let mut rng = Rng::new(SEED + case);
        let mut spoiled = segments(&image.disk);
        let (number, bytes) = &mut spoiled[rng.below(3)];
        let from = rng.below(bytes.len());
        let to = bytes.len().min(from + 1 + rng.below(600));
        match rng.below(3) {
            0 => bytes[from..to].fill(0),
            1 => bytes[from..to].fill(0xff),
            _ => bytes[from..to].iter_mut().for_each(|byte| *byte = rng.next_u64().to_le_bytes()[0]),
        }
        let touched = |index: usize| {
            let (at, end, _) = image.sums[index];
            at.segment == *number && at.offset < to as u64 && (from as u64) < end
        };
        let disk = with_file(&image.disk, &segment_name(*number), bytes);
        let what = format!("seed {SEED:#x}, case {case}: {from}..{to} of segment {number}");
        let found = read(&disk, true);
        if found.verdict == Verdict::Unsupported {
            continue;
        }
        let expected: Vec<_> =
            (0..image.sums.len()).filter(|index| !touched(*index)).map(|index| image.sums[index]).collect();
        if found.verdict == Verdict::Clean {
            // Only reserved bytes were touched; or a finished segment ends in zeros from an entry on, which
            // is what prepared space looks like, and no mark lies in it.
            let is_end = to == bytes.len() && bytes[from..].iter().all(|byte| *byte == 0);
            assert!(found.sums == image.sums || (is_end && *number != 3 && found.sums == expected), "{what}");
            continue;
        }
        assert!(found.sums == expected, "{what}");
        let (opened, wal) = open_wal(&disk, RecoveryMode::SkipDamaged);
        let items: Vec<Item> = image.seen(|index| !touched(index)).1;
        assert!(opened.memory.items == items, "{what}");
        let (wal, sim) = wal.unwrap();
        log_some(&wal, 2000);
        wal.close().unwrap();
        let again = open(&sim.disk(), RecoveryMode::Strict);
        assert_eq!(again.outcome.unwrap().verdict, Verdict::Clean, "{what}");
        assert!(again.memory.items[..items.len()] == items, "{what}");
        assert_eq!(again.memory.items.len(), items.len() + 5, "{what}");
        damaged += 1;
        lost_entries += image.sums.len() - items.len();
    }
    println!("{damaged} damaged logs of {CASES}, {lost_entries} entries touched, 0 others lost, 0 invented");
    assert!(CASES / 2 < damaged);
}

#[test]
fn a_damaged_length_that_leads_to_another_entry_hides_none_between() {
    // The length grows by just what the entries behind it take.
    let image = three_segments();
    let mut cases = 0;
    for (index, (at, end, _)) in image.sums.iter().enumerate() {
        for (until, (_, later, _)) in image.sums.iter().enumerate().skip(index + 1) {
            if image.sums[until].0.segment != at.segment {
                break;
            }
            let mut bytes = segments(&image.disk)[usize::try_from(at.segment).unwrap() - 1].1.clone();
            let start = usize::try_from(at.offset).unwrap();
            let length = u32::from_be_bytes(bytes[start + 2..start + 6].try_into().unwrap());
            let grown = length + u32::try_from(later - end).unwrap();
            bytes[start + 2..start + 6].copy_from_slice(&grown.to_be_bytes());
            let found = read(&with_file(&image.disk, &segment_name(at.segment), &bytes), true);
            assert_eq!(found.verdict, Verdict::Damaged);
            assert_eq!(found.sums.len(), image.sums.len() - 1, "from {index} to {until}");
            assert!(!found.at.contains(at));
            cases += 1;
        }
    }
    assert!(500 < cases, "{cases}");
}

/// A log of three entries; a label of the series in the middle holds a whole entry as its text.
fn with_an_entry_in_a_label() -> (Image, Item) {
    let mut inner = Vec::new();
    let mut payload = 7_u64.to_be_bytes().to_vec();
    payload.extend_from_slice(&9_i64.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&1.0_f64.to_bits().to_be_bytes());
    frame_payload(EntryKind::Samples, 1, &payload, &mut inner).unwrap();
    let sim = SimDisk::new(Disk::new());
    let (wal, _) = Wal::open_storage(Arc::new(sim.clone()), plain(9000)).unwrap().replay(&mut ()).unwrap();
    wal.log_samples(&[sample(1)]).unwrap();
    let labels =
        Labels::from_pairs([(&b"text"[..], &inner[..]), (&b"then"[..], &b"more text behind it"[..])]);
    wal.log_series(&[Series { series_ref: SeriesRef(1), labels }]).unwrap();
    wal.log_samples(&[sample(2)]).unwrap();
    wal.close().unwrap();
    let hidden = wal_engine::Sample { series_ref: SeriesRef(7), time_ms: 9, value: 1.0 };
    (Image::of(sim.disk()), Item::Samples(vec![hidden]))
}

#[test]
fn text_that_looks_like_an_entry_is_taken_for_one_only_where_the_length_around_it_is_damaged() {
    let (image, hidden) = with_an_entry_in_a_label();
    let (at, end, _) = image.sums[1];
    let (mut believed, mut fooled) = (0, 0);
    for offset in at.offset..end {
        for bit in 0..8 {
            let disk = with_bits(&image.disk, "000001", offset, 1 << bit);
            let seen = open(&disk, RecoveryMode::SkipDamaged).memory.items;
            // The default mode never looks behind a fault, so it cannot be fooled.
            let cut = open(&disk, RecoveryMode::PointInTime).memory.items;
            assert_eq!(cut, image.seen(|index| index < 1).1);
            if seen == image.seen(|index| index != 1).1 {
                believed += 1;
                continue;
            }
            // The one thing that can happen: the text as one more entry, in the place of the damaged one.
            let mut with_text = image.seen(|index| index != 1).1;
            with_text.insert(1, hidden.clone());
            assert_eq!(seen, with_text, "offset {offset}, bit {bit}");
            let is_type_or_length = offset == at.offset || (at.offset + 2..at.offset + 6).contains(&offset);
            assert!(is_type_or_length, "offset {offset}, bit {bit}: the claim was not believed");
            fooled += 1;
        }
    }
    println!("{believed} flips hide the text, {fooled} in type or length show it as an entry");
    assert!(0 < fooled && fooled <= 5 * 8);
}
