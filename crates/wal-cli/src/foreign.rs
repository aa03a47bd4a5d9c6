//! What is not a log of this format but looks as if it could be: told apart by its look, before anyone
//! offers to repair it.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use wal_format::{checksum, layout};

use crate::exit::{self, Failure};

/// Why the modern Prometheus log is not read.
pub(crate) const MODERN: &str = "a log of Prometheus 2.4 or newer (records in pages of 32 KiB)";

/// The first segment of a modern Prometheus log, if `dir` is one.
///
/// It has numbers of eight digits and no header: a page begins with a record, whose first byte is its type
/// and whose checksum tells for certain. A log of ours with a damaged header is not taken for one: its
/// names have six digits and its bytes no such checksum.
pub(crate) fn modern(dir: &Path) -> Option<PathBuf> {
    let names = names(dir)?;
    let first = names.iter().filter(|name| is_number(name)).min_by_key(|name| name.parse::<u64>().ok())?;
    let path = dir.join(first);
    let page = first_page(&path)?;
    if page.starts_with(&layout::MAGIC.to_be_bytes()) {
        return None;
    }
    let eight_digits = first.len() == MODERN_DIGITS && first.starts_with('0');
    let checkpoint = names.iter().any(|name| name.strip_prefix("checkpoint.").is_some_and(is_number));
    let record_kind = page.first().is_none_or(|byte| byte & MODERN_KIND_BITS <= MODERN_KIND_LAST);
    let looks = eight_digits && record_kind || checkpoint;
    (looks || begins_with_record(&page)).then_some(path)
}

/// Refuses a directory that holds another program's log.
pub(crate) fn refuse(dir: &Path) -> Result<(), Failure> {
    let Some(segment) = modern(dir) else { return Ok(()) };
    Err(Failure::log_at_fault(format_args!(
        "{}: {MODERN}, which this tool does not read; nothing was changed\n  next: {}",
        segment.display(),
        modern_advice(dir)
    )))
}

/// What to do with a modern log: its own tools read it.
pub(crate) fn modern_advice(dir: &Path) -> String {
    // The modern tools want the data directory, which holds the log as `wal`.
    let data = match dir.parent() {
        Some(parent) if dir.ends_with("wal") && !parent.as_os_str().is_empty() => parent,
        _ => Path::new("DATA-DIR"),
    };
    format!("look into it with `promtool tsdb dump {}`, or with the Prometheus that wrote it", data.display())
}

/// Says that there is nothing to read, and where the log may be. An empty directory is an empty log, but
/// mostly a wrong path.
pub(crate) fn note_if_empty(dir: &Path) {
    if let Some(empty) = no_segments(dir) {
        exit::warn(empty.said());
    }
}

/// Refuses the folder above a log, in which a writing command would only leave files behind; says that an empty one is
/// empty.
pub(crate) fn refuse_above(dir: &Path) -> Result<(), Failure> {
    match no_segments(dir) {
        Some(above @ NoSegments { below: Some(_), .. }) => Err(Failure::bad_input(above.said())),
        Some(empty) => {
            exit::warn(empty.said());
            Ok(())
        }
        None => Ok(()),
    }
}

/// A directory without segment files.
struct NoSegments<'a> {
    dir: &'a Path,
    /// The folder of it that has some.
    below: Option<PathBuf>,
}

impl NoSegments<'_> {
    fn said(&self) -> String {
        let dir = self.dir.display();
        match &self.below {
            Some(below) => format!(
                "{dir}: no segment files here\n  next: name the directory that has them: {}",
                below.display()
            ),
            None => format!(
                "{dir}: no segment files here: an empty log\n  \
                 next: if there should be one, name the directory that has files such as 000001"
            ),
        }
    }
}

/// Looks for segment files; none if there are some, or nobody can tell.
fn no_segments(dir: &Path) -> Option<NoSegments<'_>> {
    let has_segments = |dir: &Path| names(dir).map(|names| names.iter().any(|name| is_number(name)));
    if has_segments(dir)? {
        return None;
    }
    let below = dir.join("wal");
    Some(NoSegments { dir, below: has_segments(&below).unwrap_or(false).then_some(below) })
}

/// The names in a directory; none where it cannot be read, which whoever opens the log will say.
fn names(dir: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(dir).ok()?;
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    entries.filter_map(|entry| entry.map(name).transpose()).collect::<Result<_, _>>().ok()
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first page of a regular file; links are not followed and nothing is waited for.
fn first_page(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut page = Vec::new();
    file.take(MODERN_PAGE_BYTES).read_to_end(&mut page).ok()?;
    Some(page)
}

/// Whether a page begins with a record of the modern log whose checksum is right: a type, a length of two
/// bytes, a checksum of four, and the bytes.
fn begins_with_record(page: &[u8]) -> bool {
    let Some(([kind, a, b, c, d, e, f], rest)) = page.split_first_chunk() else { return false };
    let bytes = usize::from(u16::from_be_bytes([*a, *b]));
    let Some(data) = rest.get(..bytes) else { return false };
    // A whole record or the first part of one.
    matches!(kind & MODERN_KIND_BITS, 1 | 2) && checksum::crc32c(data) == u32::from_be_bytes([*c, *d, *e, *f])
}

const MODERN_DIGITS: usize = 8;
const MODERN_PAGE_BYTES: u64 = 32 << 10;
/// The other bits of a record's first byte say how it is compressed.
const MODERN_KIND_BITS: u8 = 7;
const MODERN_KIND_LAST: u8 = 4;

#[cfg(test)]
mod tests {
    use super::{begins_with_record, modern_advice};
    use std::path::Path;

    #[test]
    fn a_record_is_known_by_its_checksum_alone() {
        let data = b"series and so on";
        let mut page = vec![1, 0, 16];
        page.extend(wal_format::checksum::crc32c(data).to_be_bytes());
        page.extend(data);
        assert!(begins_with_record(&page));
        for index in 0..page.len() {
            let mut wrong = page.clone();
            wrong[index] ^= 4;
            assert!(!begins_with_record(&wrong), "byte {index} may not be anything else");
        }
        assert!(!begins_with_record(&[]), "an empty file is no record");
    }

    #[test]
    fn the_advice_names_the_directory_that_the_modern_tools_want() {
        assert!(modern_advice(Path::new("data/wal")).contains("tsdb dump data`"));
        assert!(modern_advice(Path::new("wal")).contains("tsdb dump DATA-DIR`"));
        assert!(modern_advice(Path::new("data/wal-copy")).contains("tsdb dump DATA-DIR`"));
    }
}
