//! Seeds cut from the golden logs, for each target in the shape that its body reads.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use wal_engine::Position;
use wal_engine::intent::{self, IntentStep};
use wal_engine::mark::Witness;
use wal_format::EntryKind;
use wal_format::layout::{CHECKSUM_BYTES, FRAME_HEADER_BYTES, HEADER_BYTES};
use wal_segment::dir::segment_number;

use crate::files::{Files, INTENT, MARK, Piece};
use crate::{frames, mutate};

/// The seeds of a target, from the directories of golden logs below `data`.
///
/// # Errors
/// When they cannot be read.
pub fn of(target: &str, data: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut seeds = BTreeSet::new();
    for case in cases(data)? {
        let segments = segments(&case.join("wal"))?;
        match target {
            "import" => seeds.extend(lines(&case)?),
            "directory" => seeds.extend(directories(&segments)),
            "control" => seeds.extend(controls(&segments)),
            "operations" => {}
            _ => segments.iter().for_each(|(_, segment)| seeds.extend(cut(target, segment))),
        }
    }
    if target == "operations" {
        seeds.extend(histories());
    }
    seeds.retain(|seed| seed.len() <= SEED_BYTES_MAX);
    Ok(seeds.into_iter().collect())
}

/// Directories with a log and what it must read as, sorted by name.
fn cases(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for kind in ["golden", "real"] {
        let dir = data.join(kind);
        for entry in dir.read_dir()? {
            let path = entry?.path();
            if path.join("expect.ndjson").is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a log by name.
fn segments(log: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in log.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_file() {
            found.push((name, std::fs::read(path)?));
        }
    }
    found.sort();
    Ok(found)
}

/// What a segment has for a target that reads payloads or entries.
fn cut(target: &str, segment: &[u8]) -> Vec<Vec<u8>> {
    let entries = segment.get(HEADER_BYTES..).unwrap_or_default();
    let entries = &entries[..entries.len().min(SEED_BYTES_MAX - 2)];
    let payloads = |kind: EntryKind| {
        let found =
            frames::walk(entries).into_iter().filter(move |frame| entries[frame.start] == kind.code());
        found.map(|frame| entries[frame.start + FRAME_HEADER_BYTES..frame.end - CHECKSUM_BYTES].to_vec())
    };
    match target {
        "series" => payloads(EntryKind::Series).collect(),
        "samples" => payloads(EntryKind::Samples).collect(),
        "deletes" => payloads(EntryKind::Deletes).collect(),
        "resync" => [1, 7, 255].map(|piece| [&[piece], entries].concat()).to_vec(),
        "readers" => [[0, 1], [0xc0, 1], [0xd0, 0], [0xff, 1]].map(|head| [&head, entries].concat()).to_vec(),
        _ => vec![entries.to_vec()],
    }
}

/// The log as a directory, alone and with the files that this log writes beside its segments.
fn directories(segments: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut position = None;
    for (name, bytes) in segments {
        let Some(number) = segment_number(name).filter(|number| (1..=6).contains(number)) else { continue };
        let code = u8::try_from(number - 1).unwrap_or(0);
        // The prepared space of golden logs is long and says nothing more than a little of it.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let bytes = &bytes[..bytes.len().min(used + 64)];
        let entries = frames::walk(bytes.get(HEADER_BYTES..).unwrap_or_default());
        if let Some(last) = entries.last() {
            let end = HEADER_BYTES + last.end;
            let mut checksum = [0; CHECKSUM_BYTES];
            checksum.copy_from_slice(&bytes[end - CHECKSUM_BYTES..end]);
            let witness = Witness { end: end as u64, checksum: u32::from_be_bytes(checksum) };
            position = Some((Position { segment: number, offset: end as u64 }, witness));
        }
        pieces.push(Piece { code, bytes: bytes.to_vec() });
    }
    let mut seeds = vec![Files { settings: 2, pieces: pieces.clone() }];
    if let Some((at, witness)) = position {
        let slot = mutate::mark(at, 4, 1, vec![witness]);
        let mut marked = pieces.clone();
        marked.push(Piece { code: MARK, bytes: [slot.clone(), slot].concat() });
        seeds.push(Files { settings: 0x0c, pieces: marked });
    }
    let steps = [IntentStep::Replace { number: 2 }, IntentStep::Remove { first: 1, last: 1 }];
    if let Some(last) = pieces.last().cloned() {
        pieces.push(Piece { code: 11, bytes: last.bytes });
        pieces.push(Piece { code: INTENT, bytes: intent::encode(&steps) });
        seeds.push(Files { settings: 0x11, pieces });
    }
    seeds.iter().map(|files| files.compose(usize::MAX)).collect()
}

/// Marks and intents for the segments of a log.
fn controls(segments: &[(String, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (name, bytes) in segments {
        let Some(number) = segment_number(name) else { continue };
        let end = bytes.len() as u64;
        let witnesses = vec![Witness { end, checksum: 7 }; usize::from(number % 2 == 1)];
        let slot = mutate::mark(Position { segment: number, offset: end }, number, 1, witnesses);
        seeds.push([&[0], &slot[..]].concat());
        let steps = [IntentStep::Replace { number }, IntentStep::Remove { first: number, last: end }];
        seeds.push([&[1], &intent::encode(&steps)[..]].concat());
    }
    seeds
}

/// Lines of NDJSON, one by one and a few together.
fn lines(case: &Path) -> io::Result<Vec<Vec<u8>>> {
    let text = std::fs::read_to_string(case.join("expect.ndjson"))?;
    let short: Vec<&str> = text.lines().filter(|line| line.len() < 1000).collect();
    let mut seeds: Vec<Vec<u8>> = short.iter().take(20).map(|line| line.as_bytes().to_vec()).collect();
    seeds.extend(short.chunks(3).take(5).map(|lines| lines.join("\n").into_bytes()));
    Ok(seeds)
}

/// Histories with each operation in them; the fuzzer finds the rest.
fn histories() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for settings in 0..12 {
        seeds.push(vec![settings, 0, 4, 8, 3, 4, 5, 8, 0x4e, 3, 1, 0, 1, 3, 8]);
        seeds
            .push(vec![settings, 0, 0x34, 0x44, 8, 0x44, 11, 0x34, 2, 12, 5, 8, 0x2b, 4, 13, 14, 7, 1, 2, 1]);
        seeds.push(vec![settings, 0, 0x44, 0x44, 0x44, 0x44, 8, 11, 0x0f, 20, 1, 1, 1, 0, 2, 3, 8, 0x1f, 2]);
    }
    seeds
}

/// Longer seeds only slow the fuzzer down.
const SEED_BYTES_MAX: usize = 4096;
