//! What a checked payload says of itself: its kind, how many items it has, its bytes, and iterators of known length.
#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use wal_format::layout::ENTRY_BYTES_MAX_DEFAULT;
use wal_format::{
    DecodeErrorKind, DeletesPayload, Entry, EntryKind, Payload, Resync, SampleBuffer, SamplesPayload,
    SeriesPayload, Step, decode_deletes, decode_samples, encode_deletes, encode_samples, encode_series,
    frame_payload, frame_series, next_entry,
};
use wal_types::{Interval, Intervals, Labels, Sample, Series, Stone, StoneRow};

fn series() -> Vec<Series> {
    let labels = |n: u64| Labels::from_pairs([("a", "x".repeat(5)), ("b", n.to_string())]);
    (0..3).map(|n| Series::new(n, labels(n))).collect()
}

fn samples() -> Vec<Sample> {
    (0..5).map(|n| Sample::new(n, 7, 1.5)).collect()
}

fn stones() -> Vec<Stone> {
    let rows = vec![Interval::new(1, 2), Interval::new(5, 9)];
    vec![
        Stone::new(4, Intervals::from_verbatim(rows)),
        Stone::new(5, [Interval::new(3, 3)].into_iter().collect()),
    ]
}

fn payload_of(kind: EntryKind) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        EntryKind::Series => encode_series(&series(), &mut out),
        EntryKind::Samples => encode_samples(&samples(), &mut out),
        EntryKind::Deletes => encode_deletes(&stones(), &mut out),
    }
    out
}

/// The iterator says at every step how many are left, gives that many, and then ends for good.
fn counts_down<I: ExactSizeIterator>(mut items: I, count: usize) {
    for left in (0..count).rev() {
        assert_eq!(items.size_hint(), (left + 1, Some(left + 1)));
        assert!(items.next().is_some());
        assert_eq!(items.len(), left);
    }
    assert!(items.next().is_none());
    assert_eq!(items.size_hint(), (0, Some(0)));
    assert!(items.next().is_none());
}

#[test]
fn a_payload_knows_its_kind_its_items_and_its_bytes() {
    for (kind, items) in [(EntryKind::Series, 3), (EntryKind::Samples, 5), (EntryKind::Deletes, 3)] {
        let bytes = payload_of(kind);
        let mut frame = Vec::new();
        frame_payload(kind, 9, &bytes, &mut frame).unwrap();
        let Step::Entry(entry) = next_entry(&frame, 0) else { panic!("no entry") };
        assert_eq!((entry.frame_bytes(), entry.flag, entry.payload), (frame.len(), 9, &bytes[..]));
        let payload = entry.decode().unwrap();
        assert_eq!((payload.kind(), payload.items()), (kind, items));
        let empty = Entry { payload: &[], ..entry }.decode().unwrap();
        assert_eq!((empty.kind(), empty.items()), (kind, 0));
        let (raw, is_empty) = match &payload {
            Payload::Series(payload) => (payload.raw(), payload.is_empty()),
            Payload::Samples(payload) => (payload.raw(), payload.is_empty()),
            Payload::Deletes(payload) => (payload.raw(), payload.is_empty()),
        };
        assert_eq!((raw, is_empty), (&bytes[..], false));
        let is_empty = match &empty {
            Payload::Series(payload) => payload.is_empty() && payload.iter().next().is_none(),
            Payload::Samples(payload) => payload.is_empty() && payload.iter().next().is_none(),
            Payload::Deletes(payload) => payload.is_empty() && payload.iter().next().is_none(),
        };
        assert!(is_empty);
    }
}

#[test]
fn iterators_say_how_much_is_left() {
    let bytes = payload_of(EntryKind::Series);
    let payload = SeriesPayload::check(&bytes).unwrap();
    counts_down(payload.iter(), 3);
    counts_down((&payload).into_iter(), 3);
    for view in &payload {
        counts_down(view.labels.iter(), 2);
        counts_down((&view.labels).into_iter(), 2);
    }
    let bytes = payload_of(EntryKind::Samples);
    let payload = SamplesPayload::check(&bytes).unwrap();
    counts_down(payload.iter(), 5);
    assert!((&payload).into_iter().eq(samples()));
    let bytes = payload_of(EntryKind::Deletes);
    let payload = DeletesPayload::check(&bytes).unwrap();
    counts_down(payload.iter(), 3);
    let rows: Vec<StoneRow> = stones().iter().flat_map(Stone::rows).collect();
    assert!((&payload).into_iter().eq(rows.iter().copied()));
    let mut into = vec![StoneRow::default()];
    payload.decode_into(&mut into);
    assert_eq!(into[1..], rows);
    let mut into = vec![Sample::default()];
    SamplesPayload::check(&payload_of(EntryKind::Samples)).unwrap().decode_into(&mut into);
    assert_eq!(into[1..], samples());
}

#[test]
fn a_label_set_knows_its_size_and_its_bytes() {
    let bytes = payload_of(EntryKind::Series);
    let payload = SeriesPayload::check(&bytes).unwrap();
    let view = payload.iter().next().unwrap();
    assert_eq!((view.labels.len(), view.labels.is_empty()), (2, false));
    assert_eq!(view.labels.raw(), b"\x01a\x05xxxxx\x01b\x010");
    let none = SeriesPayload::check(&[0, 0, 0, 0, 0, 0, 0, 9, 0]).unwrap();
    let view = none.iter().next().unwrap();
    assert_eq!((view.series_ref.0, view.labels.len(), view.labels.is_empty()), (9, 0, true));
    assert!(view.labels.is_sorted());
}

#[test]
fn a_label_count_is_believed_as_far_as_the_shortest_labels_would_fit() {
    let empty_labels = b"\0\0\0\0\0\0\0\x05\x02\0\0\0\0";
    assert_eq!(SeriesPayload::check(empty_labels).unwrap().iter().next().unwrap().labels.len(), 2);
    let one_more = b"\0\0\0\0\0\0\0\x05\x03\0\0\0\0\0";
    let error = SeriesPayload::check(one_more).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::LabelCount, 8));
}

#[test]
fn memory_is_asked_for_once_and_no_more_than_the_bytes_can_need() {
    let mut bytes = Vec::new();
    encode_deletes(&vec![Stone::new(1, [Interval::new(0, 0)].into_iter().collect()); 1001], &mut bytes);
    let mut rows = Vec::new();
    decode_deletes(&bytes, &mut rows).unwrap();
    assert_eq!((rows.len(), rows.capacity()), (1001, 1001));
    bytes.clear();
    encode_samples(&[Sample::default(); 1001], &mut bytes);
    let mut samples = Vec::new();
    decode_samples(&bytes, &mut samples).unwrap();
    assert_eq!((samples.len(), samples.capacity()), (1001, 1001));
    let mut framed = Vec::new();
    frame_payload(EntryKind::Samples, 1, &bytes, &mut framed).unwrap();
    assert_eq!((framed.len(), framed.capacity()), (bytes.len() + 10, bytes.len() + 10));
}

#[test]
fn a_buffer_forgets_and_says_where_a_payload_went() {
    let bytes = payload_of(EntryKind::Samples);
    let mut buffer = SampleBuffer::default();
    assert!(buffer.samples().is_empty());
    assert_eq!(buffer.decode(&bytes).unwrap().range, 0..5);
    assert_eq!(buffer.decode(&bytes).unwrap().range, 5..10);
    buffer.clear();
    assert!(buffer.samples().is_empty());
    assert_eq!(buffer.decode(&bytes).unwrap().range, 0..5);
    assert_eq!(buffer.samples(), samples());
}

#[test]
fn an_entry_of_the_default_limit_is_within_what_the_search_looks_on_for() {
    assert_eq!(ENTRY_BYTES_MAX_DEFAULT, 0x0400_0000);
    assert!(u64::from(ENTRY_BYTES_MAX_DEFAULT) <= Resync::LOOK_ON_BYTES);
}

#[test]
fn framed_series_end_where_the_entry_ends() {
    let mut out = vec![0xaa; 3];
    let framed = frame_series(&series(), u32::MAX, &mut out).unwrap();
    assert_eq!((framed.items, framed.bytes), (3, out.len() - 3));
    let Step::Entry(entry) = next_entry(&out[3..], 0) else { panic!("no entry") };
    assert_eq!((entry.checksum, entry.payload), (framed.checksum, &payload_of(EntryKind::Series)[..]));
}
