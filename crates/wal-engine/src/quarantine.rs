//! The quarantine: what repair cut, listed, put back, or deleted on request.
//!
//! A name says where the bytes are from: `NUMBER-SEGMENT-OFFSET.cut`, all decimal. The number makes
//! it unique; offset 0 means the whole file. Nothing else is written about them.

use std::io;
use std::path::Path;

use wal_segment::dir::segment_name;
use wal_segment::os::QUARANTINE_FOLDER;
use wal_segment::storage::{piece_buffer, read_up_to, write_all_at};
use wal_segment::{
    Access, FileError, FileKind, Folder, LockAttempt, Modes, OsStorage, Replace, Storage, StorageFile,
};

use crate::error::{Error, ErrorKind, Result};
use crate::report::Quarantined;

const SUFFIX: &str = ".cut";
const COPY_BYTES: usize = 256 << 10;

/// What lies in the quarantine of a log, oldest first. Reads names only; an absent quarantine is an
/// empty one.
///
/// # Errors
/// When the directory cannot be read.
pub fn list_quarantine(dir: &Path) -> Result<Vec<Quarantined>> {
    crate::wal::require_directory(dir)?;
    list(&OsStorage::new(dir, Modes::default()))
}

/// Puts a log back together in a fresh directory: its segments as they are now, and what repairs cut
/// back in its place. A cut tail whose place has been taken by newer entries stays beside them, in the
/// copy's own quarantine. Returns how many files it wrote. Changes nothing in `dir`; blocks while it
/// copies, and syncs the copy.
///
/// # Errors
/// When the quarantine is empty, `to` exists and is not empty, or a file cannot be copied.
pub fn restore_quarantine(dir: &Path, to: &Path) -> Result<u64> {
    let found = list_quarantine(dir)?;
    let source = OsStorage::new(dir, Modes::default());
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NoSuchPosition, "the quarantine is empty", "nothing to restore")
            .with_path(dir.join(QUARANTINE_FOLDER)));
    }
    let target = fresh_directory(to, Modes::default())?;
    let listing = wal_segment::Listing::read(&source, &[])
        .map_err(|error| Error::file("read the log directory", dir.to_path_buf(), error))?;
    let mut written = 0;
    for segment in listing.segments.iter().filter(|segment| segment.regular) {
        copy(&source, &segment.name, &target, &segment.name, 0)?;
        written += 1;
    }
    // Newest first: where two repairs cut the same segment, the older cut reaches furthest.
    for file in found.iter().rev() {
        let from = format!("{QUARANTINE_FOLDER}/{}", file.name);
        let now = listing.segments.iter().find(|segment| segment.number == file.segment);
        let taken = now.is_some_and(|now| file.offset != 0 && file.offset < now.bytes);
        if taken {
            target
                .create_quarantine()
                .map_err(|error| Error::file("create", target.path(QUARANTINE_FOLDER), error))?;
            copy(&source, &from, &target, &from, 0)?;
        } else {
            let name = now.map_or_else(|| segment_name(file.segment), |now| now.name.clone());
            copy(&source, &from, &target, &name, file.offset)?;
        }
        written += 1;
    }
    target
        .sync_folder(Folder::Log)
        .and_then(|()| target.sync_folder(Folder::Parent))
        .map_err(|error| Error::file("sync", to.to_path_buf(), error))?;
    Ok(written)
}

/// Deletes everything in the quarantine; returns how many bytes that were. Takes the writer's lock for
/// the moment, and syncs the directory.
///
/// # Errors
/// When a writer holds the log, or a file cannot be removed.
pub fn purge_quarantine(dir: &Path) -> Result<u64> {
    crate::wal::require_directory(dir)?;
    let storage = OsStorage::new(dir, Modes::default());
    let _lock = match storage.lock().map_err(|error| Error::file("lock", dir.to_path_buf(), error))? {
        LockAttempt::Taken(guard) => guard,
        LockAttempt::HeldBy(who) => return Err(crate::wal::locked(dir, &who)),
    };
    let mut bytes = 0;
    for file in list(&storage)? {
        let name = format!("{QUARANTINE_FOLDER}/{}", file.name);
        storage.remove(&name).map_err(|error| Error::file("remove", storage.path(&name), error))?;
        bytes += file.bytes;
    }
    storage
        .sync_folder(Folder::Quarantine)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .map_err(|error| Error::file("sync", storage.path(QUARANTINE_FOLDER), error))?;
    Ok(bytes)
}

/// What lies in quarantine, by rising number.
pub(crate) fn list(storage: &dyn Storage) -> Result<Vec<Quarantined>> {
    let listed = storage
        .list(Folder::Quarantine)
        .map_err(|error| Error::file("read", storage.path(QUARANTINE_FOLDER), error))?;
    let mut found: Vec<(u64, Quarantined)> = Vec::new();
    for file in listed.into_iter().filter(|file| file.kind == FileKind::File) {
        if let Some((number, segment, offset)) = parse(&file.name) {
            let entry = Quarantined { name: file.name, segment, offset, bytes: file.bytes };
            found.push((number, entry));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// The highest segment number that anything in quarantine is from.
pub(crate) fn highest_number(storage: &dyn Storage) -> Result<Option<u64>> {
    Ok(list(storage)?.iter().map(|file| file.segment).max())
}

/// Moves a whole segment into quarantine. Durable only after both directories are synced.
pub(crate) fn move_segment(
    storage: &dyn Storage,
    name: &str,
    number: u64,
    bytes: u64,
    numbers: &mut Numbers,
) -> std::result::Result<Quarantined, FileError> {
    let failed = |error| FileError::new("move to quarantine", storage.path(name), error);
    storage.create_quarantine().map_err(failed)?;
    loop {
        let target = numbers.next_name(storage, number, 0).map_err(failed)?;
        match storage.rename(name, &in_quarantine(&target), Replace::Never) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
            Ok(()) => return Ok(Quarantined { name: target, segment: number, offset: 0, bytes }),
        }
    }
}

/// Copies a part of a segment into quarantine, durably. The name is durable after both directories
/// are synced. A copy that does not fit leaves nothing behind.
pub(crate) fn save_part(
    storage: &dyn Storage,
    name: &str,
    number: u64,
    range: std::ops::Range<u64>,
    numbers: &mut Numbers,
) -> std::result::Result<Quarantined, FileError> {
    let failed = |error| FileError::new("copy to quarantine", storage.path(name), error);
    storage.create_quarantine().map_err(failed)?;
    let source = storage.open(name, Access::Read).map_err(failed)?;
    let target = numbers.next_name(storage, number, range.start).map_err(failed)?;
    let path = in_quarantine(&target);
    let file = storage.create_new(&path).map_err(failed)?;
    let copied = copy_range(&*source, range.clone(), &*file, 0).and_then(|()| file.sync());
    if let Err(error) = copied {
        let _ = storage.remove(&path);
        return Err(failed(error));
    }
    let bytes = range.end.saturating_sub(range.start);
    Ok(Quarantined { name: target, segment: number, offset: range.start, bytes })
}

/// Copies bytes between files, through a buffer of bounded size.
pub(crate) fn copy_range(
    source: &dyn StorageFile,
    range: std::ops::Range<u64>,
    target: &dyn StorageFile,
    at: u64,
) -> io::Result<()> {
    let mut buffer = piece_buffer(range.start, range.end, COPY_BYTES);
    let (mut from, mut to) = (range.start, at);
    while from < range.end {
        let have = read_up_to(source, &mut buffer, from, range.end)?;
        if have == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        write_all_at(target, buffer.get(..have).unwrap_or_default(), to).map_err(|(_, error)| error)?;
        from += have as u64;
        to += have as u64;
    }
    Ok(())
}

/// A directory that is absent or empty, made ready for a copy of a log.
pub(crate) fn fresh_directory(to: &Path, modes: Modes) -> Result<OsStorage> {
    let failed = |error| Error::file("create", to.to_path_buf(), error);
    let target = OsStorage::new(to, modes);
    match target.list(Folder::Log) {
        Ok(names) if names.is_empty() => {}
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::InvalidOptions,
                format!("{} is not empty", to.display()),
                "give a directory that is empty or does not exist",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    target.create_log_folder().map_err(failed)?;
    Ok(target)
}

fn copy(source: &dyn Storage, from: &str, target: &dyn Storage, to: &str, at: u64) -> Result<()> {
    let copied = || -> io::Result<()> {
        let file = source.open(from, Access::Read)?;
        let out = match target.open(to, Access::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => target.create_new(to)?,
            other => other?,
        };
        copy_range(&*file, 0..file.len()?, &*out, at)?;
        out.sync()
    };
    copied().map_err(|error| Error::file("copy", source.path(from), error))
}

/// The numbers that names in a quarantine begin with. The folder is read once for all that a repair puts
/// there: read for each, many segments would take for ever.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Option<u64>);

impl Numbers {
    fn next_name(&mut self, storage: &dyn Storage, segment: u64, offset: u64) -> io::Result<String> {
        let last = match self.0 {
            Some(last) => last,
            None => {
                let listed = storage.list(Folder::Quarantine)?;
                listed
                    .iter()
                    .filter_map(|file| parse(&file.name))
                    .map(|(number, ..)| number)
                    .max()
                    .unwrap_or(0)
            }
        };
        let number = last.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        self.0 = Some(number);
        Ok(format!("{number:06}-{}-{offset}{SUFFIX}", segment_name(segment)))
    }
}

fn parse(name: &str) -> Option<(u64, u64, u64)> {
    let mut parts = name.strip_suffix(SUFFIX)?.splitn(3, '-').map(wal_segment::dir::segment_number);
    Some((parts.next()??, parts.next()??, parts.next()??))
}

fn in_quarantine(name: &str) -> String {
    format!("{QUARANTINE_FOLDER}/{name}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_say_where_the_bytes_are_from() {
        assert_eq!(parse("000002-000007-81.cut"), Some((2, 7, 81)));
        for other in ["000002-000007.cut", "notes.txt", "a-b-c.cut", "1-2-3-4.cut", "1-2-3"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_never_repeat_within_a_quarantine() {
        let dir = tempfile::tempdir().unwrap();
        let storage = OsStorage::new(dir.path(), Modes::default());
        fs::write(dir.path().join("000001"), b"0123456789").unwrap();
        let first = save_part(&storage, "000001", 1, 4..10, &mut Numbers::default()).unwrap();
        let second = move_segment(&storage, "000001", 1, 10, &mut Numbers::default()).unwrap();
        assert_eq!(
            (first.name.as_str(), second.name.as_str()),
            ("000001-000001-4.cut", "000002-000001-0.cut")
        );
        assert_eq!(fs::read(dir.path().join("quarantine").join(first.name)).unwrap(), b"456789");
        assert_eq!(list(&storage).unwrap().len(), 2);
    }
}
