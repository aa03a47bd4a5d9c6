//! The bodies of the fuzz targets: each takes any bytes, and panics where a promise of this crate does not hold.
//!
//! They are public so that the fuzzer, the tests here and the tests of other crates run the same checks.

use wal_types::{Interval, Intervals, Labels, Sample, Series, Stone, StoneRow};

use crate::cursor::{Cursor, narrow, wide};
use crate::{
    DeletesPayload, Entry, EntryEnd, EntryKind, Found, Payload, Progress, Resync, SamplesPayload,
    SeriesPayload, Step, all_zero, decode_deletes, decode_samples, encode_deletes, encode_samples,
    encode_series, frame_bytes, frame_deletes, frame_samples, frame_series, next_entry,
};

/// Entries are found alike whole and through windows, and each agrees with the bytes it came from.
pub fn scan(data: &[u8]) {
    let mut rest = data;
    loop {
        let step = next_entry(rest, 0);
        let mut window = 0;
        let windowed = loop {
            let (near, far) = rest.split_at_checked(window).unwrap_or((rest, &[]));
            match next_entry(near, wide(far.len())) {
                Step::NeedMore { window_bytes } => {
                    assert!(wide(window) < window_bytes && window_bytes <= wide(rest.len()));
                    window = narrow(window_bytes).unwrap_or(usize::MAX);
                }
                step => break step,
            }
        };
        assert_eq!(step, windowed);
        match step {
            Step::Entry(entry) => {
                assert_eq!(frame_bytes(rest), Some((entry.kind, wide(entry.frame_bytes()))));
                if let Ok(payload) = entry.decode() {
                    assert_eq!(payload.kind(), entry.kind);
                    assert!(payload.items() <= entry.payload.len());
                }
                rest = rest.split_at_checked(entry.frame_bytes()).map(|(_, rest)| rest).unwrap_or_default();
            }
            Step::End(EntryEnd::EndMark) => {
                assert_eq!(all_zero(rest), rest.iter().all(|byte| *byte == 0));
                return;
            }
            Step::End(EntryEnd::EndOfFile) => return assert!(rest.is_empty()),
            Step::End(EntryEnd::Fault(_)) => return,
            Step::NeedMore { .. } => unreachable!("the window is all there is"),
        }
    }
}

/// A series payload that checks is read whole, and survives being written again.
pub fn series(data: &[u8]) {
    let Ok(payload) = SeriesPayload::check(data) else { return };
    let read: Vec<Series> = payload.iter().map(|view| view.to_series()).collect();
    assert_eq!(read.len(), payload.len());
    for (view, owned) in payload.iter().zip(&read) {
        assert_eq!(view.labels.iter().len(), view.labels.len());
        assert_eq!(view.labels.iter().count(), owned.labels.len());
        if view.labels.is_sorted() {
            assert!(view.labels.iter().eq(&owned.labels));
        }
    }
    let mut written = Vec::new();
    encode_series(&read, &mut written);
    let Ok(again) = SeriesPayload::check(&written) else { panic!("our own bytes do not decode") };
    assert!(again.iter().map(|view| view.to_series()).eq(read));
}

/// The three ways to read a samples payload agree, and what is read survives being written again.
pub fn samples(data: &[u8]) {
    let former = Sample::new(u64::MAX, i64::MIN, -0.0);
    let mut read = vec![former];
    let decoded = decode_samples(data, &mut read);
    let checked = SamplesPayload::check(data);
    assert_eq!(decoded.as_ref().err(), checked.as_ref().err());
    assert_eq!(read.first(), Some(&former));
    let Ok(payload) = checked else { return assert_eq!(read.len(), 1) };
    let read = read.split_off(1);
    assert_eq!(read.len(), payload.len());
    assert!(payload.iter().eq(read.iter().copied()));
    let mut into = Vec::new();
    payload.decode_into(&mut into);
    assert_eq!(into, read);
    let mut written = Vec::new();
    encode_samples(&read, &mut written);
    let mut again = Vec::new();
    assert_eq!(decode_samples(&written, &mut again), Ok(()));
    assert_eq!(again, read);
}

/// The ways to read a deletes payload agree, and what is read survives being written again.
pub fn deletes(data: &[u8]) {
    let mut read = Vec::new();
    let decoded = decode_deletes(data, &mut read);
    let checked = DeletesPayload::check(data);
    assert_eq!(decoded.as_ref().err(), checked.as_ref().err());
    let Ok(payload) = checked else { return assert!(read.is_empty()) };
    assert_eq!(read.len(), payload.len());
    assert!(payload.iter().eq(read.iter().copied()));
    let stones: Vec<Stone> = read.iter().copied().map(Stone::from).collect();
    let mut written = Vec::new();
    encode_deletes(&stones, &mut written);
    let mut again = Vec::new();
    assert_eq!(decode_deletes(&written, &mut again), Ok(()));
    assert_eq!(again, read);
}

/// Batches made of the bytes come back from their frames item by item, whatever the limit of an entry.
pub fn round_trip(data: &[u8]) {
    let unsigned = |number: i64| u64::from_le_bytes(number.to_le_bytes());
    let mut cursor = Cursor::new(data);
    let limit =
        cursor.uvarint("limit").ok().and_then(|limit| u32::try_from(limit % 4096).ok()).unwrap_or(u32::MAX);
    let (mut series, mut samples, mut stones) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(kind) = cursor.uvarint("kind").ok().filter(|_| !cursor.is_empty()) {
        let number = cursor.zvarint("number").unwrap_or(i64::MAX);
        let other = cursor.zvarint("other").unwrap_or(i64::MIN);
        match kind % 3 {
            0 => {
                let name = cursor.text("name").unwrap_or(b"name");
                let value = cursor.text("value").unwrap_or(b"\xff");
                let labels = Labels::from_pairs([(name, value), (value, name), (b"z".as_slice(), b"")]);
                series.push(Series::new(unsigned(number), labels));
            }
            1 => samples.push(Sample::new(
                unsigned(number),
                other,
                f64::from_bits(unsigned(other.rotate_left(9))),
            )),
            _ => {
                let rows = vec![Interval::new(number, other); narrow(kind % 5).unwrap_or_default()];
                stones.push(Stone::new(unsigned(other), Intervals::from_verbatim(rows)));
            }
        }
    }
    let mut log = Vec::new();
    let whole_series = frame_all(&series, |items, log| frame_series(items, limit, log), &mut log);
    let whole_samples = frame_all(&samples, |items, log| frame_samples(items, limit, log), &mut log);
    let whole_stones = frame_all(&stones, |items, log| frame_deletes(items, limit, log), &mut log);
    let (mut read_series, mut read_samples, mut read_rows) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries(&log) {
        assert!(wide(entry.payload.len()) <= u64::from(limit));
        match entry.decode() {
            Ok(Payload::Series(payload)) => read_series.extend(payload.iter().map(|view| view.to_series())),
            Ok(Payload::Samples(payload)) => payload.decode_into(&mut read_samples),
            Ok(Payload::Deletes(payload)) => payload.decode_into(&mut read_rows),
            Err(error) => panic!("our own bytes do not decode: {error}"),
        }
    }
    assert_eq!(read_series, whole_series);
    assert_eq!(read_samples, whole_samples);
    assert_eq!(read_rows, whole_stones.iter().flat_map(Stone::rows).collect::<Vec<StoneRow>>());
}

/// The search agrees with the obvious one, in whatever pieces the bytes come. Quadratic: long input is cut.
pub fn resync(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let data = data.get(..RESYNC_BYTES_MAX).unwrap_or(data);
    let first = u64::from(piece) << 25;
    let mut resync = Resync::new(first, first.saturating_add(wide(data.len())));
    let mut progress = resync.feed(&[]);
    for bytes in data.chunks(usize::from(piece).max(1)) {
        progress = resync.feed(bytes);
    }
    let expected = match obvious(data) {
        Some(found) => Progress::Found(Found { offset: found.offset.saturating_add(first), ..found }),
        None => Progress::NotFound { exhausted: false },
    };
    assert_eq!(progress, expected);
}

/// What [`Resync`] looks for, found by trying every place in turn.
fn obvious(data: &[u8]) -> Option<Found> {
    (0..data.len()).find_map(|at| {
        let place = data.get(at..)?;
        match next_entry(place, 0) {
            Step::Entry(entry) if !entry.payload.is_empty() => {
                Some(Found { offset: wide(at), kind: entry.kind, frame_bytes: wide(entry.frame_bytes()) })
            }
            _ => None,
        }
    })
}

/// Frames items entry by entry, leaving out those too large for one, and gives back those that were framed.
fn frame_all<T: Clone>(
    items: &[T],
    frame: impl Fn(&[T], &mut Vec<u8>) -> Result<crate::Framed, crate::ItemTooLarge>,
    log: &mut Vec<u8>,
) -> Vec<T> {
    let mut framed = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let before = log.len();
        let (taken, left_out) = match frame(rest, log) {
            Ok(done) => {
                assert_eq!(log.len().saturating_sub(before), done.bytes);
                assert!(done.items > 0, "no progress");
                (done.items, 0)
            }
            Err(error) => {
                assert_eq!(log.len(), before);
                assert!(error.bytes > u64::from(error.limit));
                (error.index, 1)
            }
        };
        framed.extend_from_slice(rest.get(..taken).unwrap_or_default());
        rest = rest.get(taken.saturating_add(left_out)..).unwrap_or_default();
    }
    framed
}

fn entries(mut log: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    while let Step::Entry(entry) = next_entry(log, 0) {
        log = log.get(entry.frame_bytes()..).unwrap_or_default();
        entries.push(entry);
    }
    assert_eq!(next_entry(log, 0), Step::End(EntryEnd::EndOfFile));
    assert!(entries.iter().all(|entry| EntryKind::ALL.contains(&entry.kind)));
    entries
}

const RESYNC_BYTES_MAX: usize = 4096;
