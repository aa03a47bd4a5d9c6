//! The verdict table written a second time, the slow and obvious way, from bytes alone: the twin of the
//! engine's scan, with which it shares no code.

use std::sync::LazyLock;

/// What the table says about a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// Segment and offset of every entry before the fault.
    pub entries: Vec<(u64, u64)>,
    pub verdict: &'static str,
    /// Segment and offset of the fault.
    pub fault: Option<(u64, u64)>,
}

/// Judges segments in order. `mark` is the position of a durable mark that fits, if there is one.
pub fn judge(segments: &[(u64, Vec<u8>)], mark: Option<(u64, u64)>) -> Judged {
    let mut entries = Vec::new();
    for (index, (number, bytes)) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        let marked = mark.filter(|mark| mark.0 == *number).map(|mark| mark.1);
        match segment(bytes, is_last, marked) {
            Found::Clean(found) => entries.extend(found.into_iter().map(|at| (*number, at))),
            Found::Fault(found, verdict, at) => {
                entries.extend(found.into_iter().map(|at| (*number, at)));
                return Judged { entries, verdict, fault: Some((*number, at)) };
            }
        }
    }
    Judged { entries, verdict: "clean", fault: None }
}

enum Found {
    Clean(Vec<u64>),
    Fault(Vec<u64>, &'static str, u64),
}

fn segment(bytes: &[u8], is_last: bool, marked: Option<u64>) -> Found {
    let or_damaged = |verdict| if is_last { verdict } else { "damaged" };
    let right = [0x43, 0xaf, 0x00, 0xef, 1, 0, 0, 0];
    if bytes.is_empty() {
        return if is_last { Found::Clean(vec![]) } else { Found::Fault(vec![], "damaged", 0) };
    }
    if bytes.iter().all(|byte| *byte == 0) || (bytes.len() < 8 && right.starts_with(bytes)) {
        return Found::Fault(vec![], or_damaged("torn"), 0);
    }
    if bytes.len() < 8 || bytes[..4] != right[..4] {
        return Found::Fault(vec![], "damaged", 0);
    }
    if bytes[4] != 1 {
        return Found::Fault(vec![], "unsupported", 4);
    }
    let mut entries = Vec::new();
    let mut at = 8;
    while let Some(size) = entry(bytes, at) {
        entries.push(at as u64);
        at += size;
    }
    let rest = &bytes[at..];
    let is_clean = rest.iter().all(|byte| *byte == 0);
    let offset = at as u64;
    if marked.is_some_and(|mark| offset < mark) {
        return Found::Fault(entries, "damaged", offset);
    }
    if is_clean {
        return Found::Clean(entries);
    }
    let hole = rest[0] == 0;
    let behind = (at + 1..bytes.len()).any(|at| entry(bytes, at).is_some_and(|size| 10 < size));
    let torn = hole || marked.is_some() || !behind;
    Found::Fault(entries, or_damaged(if torn { "torn" } else { "damaged" }), offset)
}

/// The size of a valid entry here.
fn entry(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    if !matches!(rest.first()?, 2..=4) {
        return None;
    }
    let length = u32::from_be_bytes(rest.get(2..6)?.try_into().ok()?) as usize;
    let stored = rest.get(6 + length..10 + length)?;
    (crc(&rest[..6 + length]).to_be_bytes() == stored).then_some(10 + length)
}

static TABLE: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let of =
        |byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78_u32 } else { crc >> 1 });
    (0..256_u32).map(of).collect()
});

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}
