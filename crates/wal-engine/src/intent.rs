//! The intent: what a truncation is about to do to names, written down before it does any of it.
//!
//! A whole intent means that every rewritten segment is durable under its temporary name, so
//! recovery can finish the renames and removals from any step. Until the intent is whole, the old
//! names are untouched and the temporaries are rubbish. The file is written once, when the log is
//! created, so that truncation needs no new space for it on a full disk.

use std::io;

use wal_format::checksum;
use wal_segment::dir::{segment_name, temporary_name};
use wal_segment::storage::{read_up_to, write_all_at};
use wal_segment::{Access, Listing, Storage, StorageFile};

/// The name of the intent's file.
pub const INTENT_FILE: &str = "intent";
const FILE_BYTES: usize = 64 << 10;
const MAGIC: [u8; 8] = *b"WALINTE1";
const HEAD_BYTES: usize = 16;
const STEP_BYTES: usize = 17;
/// How many steps one intent can hold.
pub const STEPS_MAX: usize = (FILE_BYTES - HEAD_BYTES) / STEP_BYTES;

/// One change of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentStep {
    /// The temporary of this segment number takes the place of the segment.
    Replace {
        /// The number.
        number: u64,
    },
    /// All segments from `first` to `last` go, both included.
    Remove {
        /// The lowest number.
        first: u64,
        /// The highest number.
        last: u64,
    },
}

/// The name under which a rewritten segment waits.
#[must_use]
pub fn rewrite_name(number: u64) -> String {
    temporary_name(&format!("{}.rewrite", segment_name(number)))
}

/// Whether a temporary has a name that an intent could give it.
#[must_use]
pub fn is_rewrite_name(name: &str) -> bool {
    name.ends_with(&temporary_name(".rewrite"))
}

/// The bytes of an intent.
#[must_use]
pub fn encode(steps: &[IntentStep]) -> Vec<u8> {
    let mut body = Vec::with_capacity(steps.len() * STEP_BYTES);
    for step in steps.iter().take(STEPS_MAX) {
        let (code, a, b) = match *step {
            IntentStep::Replace { number } => (1_u8, number, number),
            IntentStep::Remove { first, last } => (2, first, last),
        };
        body.push(code);
        body.extend_from_slice(&a.to_be_bytes());
        body.extend_from_slice(&b.to_be_bytes());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(&checksum::crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads an intent; `None` when it is absent, not whole, or names a number twice, as none that we wrote does:
/// what it then means would depend on the order of its steps. Never panics on any bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<IntentStep>> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (stored, rest) = rest.split_first_chunk::<4>()?;
    let body = rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    if checksum::crc32c(body) != u32::from_be_bytes(*stored) || body.len() % STEP_BYTES != 0 {
        return None;
    }
    let mut steps = Vec::with_capacity(body.len() / STEP_BYTES);
    for step in body.chunks_exact(STEP_BYTES) {
        let (code, numbers) = step.split_first()?;
        let (a, b) = numbers.split_first_chunk::<8>()?;
        let a = u64::from_be_bytes(*a);
        let b = u64::from_be_bytes(*b.first_chunk::<8>()?);
        steps.push(match code {
            1 => IntentStep::Replace { number: a },
            2 if a <= b => IntentStep::Remove { first: a, last: b },
            _ => return None,
        });
    }
    names_no_number_twice(&steps).then_some(steps)
}

fn names_no_number_twice(steps: &[IntentStep]) -> bool {
    let range = |step: &IntentStep| match *step {
        IntentStep::Replace { number } => (number, number),
        IntentStep::Remove { first, last } => (first, last),
    };
    let mut ranges: Vec<(u64, u64)> = steps.iter().map(range).collect();
    ranges.sort_unstable();
    ranges.iter().zip(ranges.iter().skip(1)).all(|((_, last), (first, _))| last < first)
}

/// Reads the intent of a log, without changing anything. No steps mean that none is pending.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn load(storage: &dyn Storage) -> io::Result<Vec<IntentStep>> {
    let file = match storage.open(INTENT_FILE, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Nearly always there is none, and then the first bytes tell.
    let mut head = [0; HEAD_BYTES];
    let have = read_up_to(&*file, &mut head, 0, FILE_BYTES as u64)?;
    if !head.get(..have).unwrap_or_default().starts_with(&MAGIC) {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; FILE_BYTES];
    let have = read_up_to(&*file, &mut bytes, 0, FILE_BYTES as u64)?;
    Ok(decode(bytes.get(..have).unwrap_or_default()).unwrap_or_default())
}

/// Changes a listing to what it will be when the intent is finished, whatever part of it has been
/// done. Readers beside a writer, and recovery, read this.
#[must_use]
pub fn apply_to_listing(mut listing: Listing, steps: &[IntentStep]) -> Listing {
    for step in steps {
        match *step {
            IntentStep::Replace { number } => {
                let temporary = rewrite_name(number);
                if let Some(at) = listing.temporaries.iter().position(|name| *name == temporary) {
                    listing.temporaries.remove(at);
                    match listing.segments.iter_mut().find(|segment| segment.number == number) {
                        Some(segment) => segment.name = temporary,
                        None => listing.segments.push(wal_segment::SegmentFile {
                            number,
                            name: temporary,
                            bytes: 0,
                            regular: true,
                        }),
                    }
                }
            }
            IntentStep::Remove { first, last } => {
                listing.segments.retain(|segment| segment.number < first || last < segment.number);
            }
        }
    }
    listing.segments.sort_by_key(|segment| segment.number);
    listing
}

/// The intent's file, open for writing.
#[derive(Debug)]
pub struct IntentFile {
    file: Box<dyn StorageFile>,
}

impl IntentFile {
    /// Opens the intent's file, or creates it with its full size.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn open(storage: &dyn Storage) -> io::Result<Self> {
        let file = match crate::repair::open_own(storage, INTENT_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create_new(INTENT_FILE)?,
            other => other?,
        };
        if file.len()? < FILE_BYTES as u64 {
            write_all_at(&*file, &vec![0; FILE_BYTES], 0).map_err(|(_, error)| error)?;
            file.sync()?;
        }
        Ok(Self { file })
    }

    /// Writes the steps and makes them durable: from here on they will be done.
    ///
    /// # Errors
    /// When that fails, it is unknown whether they will be.
    pub fn write(&self, steps: &[IntentStep]) -> io::Result<()> {
        write_all_at(&*self.file, &encode(steps), 0).map_err(|(_, error)| error)?;
        self.file.sync()
    }

    /// Clears the intent durably: all its steps are durable, or none was begun.
    ///
    /// # Errors
    /// When that fails, the steps may be done again; doing them twice changes nothing.
    pub fn clear(&self) -> io::Result<()> {
        write_all_at(&*self.file, &[0; HEAD_BYTES], 0).map_err(|(_, error)| error)?;
        self.file.sync()
    }
}

/// Sees to it that no intent is on the disk, where none shows.
///
/// What shows may be the page cache: who cleared the last one may have died before the sync, or been told that it
/// failed. An intent that power loss brought back would be followed with whatever temporaries there are by then.
///
/// # Errors
/// When it is unknown whether one can come back.
pub fn forget(storage: &dyn Storage) -> io::Result<()> {
    let file = match crate::repair::open_own(storage, INTENT_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    // A file that was made without room for what belongs into it never held one.
    if file.len()? < FILE_BYTES as u64 { Ok(()) } else { IntentFile { file }.clear() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_segment::SegmentFile;

    const STEPS: [IntentStep; 2] =
        [IntentStep::Replace { number: 2 }, IntentStep::Remove { first: 3, last: 4 }];

    fn listing(numbers: &[u64], temporaries: &[&str]) -> Listing {
        let segment = |number: &u64| SegmentFile {
            number: *number,
            name: segment_name(*number),
            bytes: 8,
            regular: true,
        };
        Listing {
            segments: numbers.iter().map(segment).collect(),
            temporaries: temporaries.iter().map(|name| (*name).to_owned()).collect(),
            others: Vec::new(),
        }
    }

    #[test]
    fn every_flipped_bit_of_an_intent_is_noticed() {
        let bytes = encode(&STEPS);
        assert_eq!(decode(&bytes).as_deref(), Some(&STEPS[..]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn an_intent_that_names_a_number_twice_is_not_whole() {
        use IntentStep::{Remove, Replace};
        let number = 2;
        let refused: [&[IntentStep]; 6] = [
            &[Replace { number }, Remove { first: 1, last: 3 }],
            &[Remove { first: 2, last: 2 }, Replace { number }],
            &[Replace { number }, Replace { number: 7 }, Replace { number }],
            &[Remove { first: 5, last: 9 }, Remove { first: 1, last: 5 }],
            &[Remove { first: 1, last: u64::MAX }, Remove { first: u64::MAX, last: u64::MAX }],
            &[Remove { first: 3, last: 2 }],
        ];
        for steps in refused {
            assert_eq!(decode(&encode(steps)), None, "{steps:?}");
        }
        let last = u64::MAX;
        for steps in
            [&STEPS[..], &[Remove { first: 3, last }, Replace { number }, Remove { first: 0, last: 1 }]]
        {
            assert_eq!(decode(&encode(steps)).as_deref(), Some(steps));
        }
    }

    #[test]
    fn the_view_is_the_same_at_every_step_of_the_renames() {
        let temporary = rewrite_name(2);
        let before = apply_to_listing(listing(&[1, 2, 3, 4, 5], &[&temporary]), &STEPS);
        let renamed = apply_to_listing(listing(&[1, 2, 3, 4, 5], &[]), &STEPS);
        let removed = apply_to_listing(listing(&[1, 2, 5], &[]), &STEPS);
        let numbers = |listing: &Listing| listing.segments.iter().map(|s| s.number).collect::<Vec<_>>();
        assert_eq!(numbers(&before), [1, 2, 5]);
        assert_eq!(before.segments[1].name, temporary);
        assert_eq!(renamed, removed);
        assert_eq!(numbers(&renamed), [1, 2, 5]);
    }
}
