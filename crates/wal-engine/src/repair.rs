//! Repair: what is cut is first kept, and every step is durable before the next one begins.

use std::ops::Range;

use wal_format::{SegmentHeader, layout};
use wal_segment::dir::temporary_name;
use wal_segment::storage::write_all_at;
use wal_segment::{Access, FileError, Folder, Position, Replace, Storage, StorageFile};

use crate::mark::{MarkFile, Witness};
use crate::quarantine::{Numbers, copy_range, move_segment, save_part};
use crate::report::Quarantined;

/// A segment as repair sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) len: u64,
}

/// The end of a segment that may be in the page cache only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) range: Range<u64>,
}

/// What is to be done, each part taken out when it is done, so that it can be taken up again.
#[derive(Debug, Default)]
pub(crate) struct RepairPlan {
    /// Segments that leave as a whole, by falling number.
    pub(crate) moves: Vec<Target>,
    /// A segment that ends earlier, and whether the bytes behind are yet to be kept.
    pub(crate) cut: Option<(Target, u64, bool)>,
    /// Segments written anew with only these parts of them, and whether the original is yet to be kept.
    pub(crate) rewrites: Vec<(Target, Vec<Range<u64>>, bool)>,
    /// Files without a byte, that crashes left behind.
    pub(crate) empty: Vec<Target>,
    /// What is to be written again before anything is acknowledged: see [`write_again`].
    pub(crate) again: Option<Again>,
    /// How the next file in quarantine is numbered.
    pub(crate) numbers: Numbers,
    /// Copies were made whose names are not durable yet.
    pub(crate) copied: bool,
    /// Where the mark goes before anything is cut: not below any position that may have been durable.
    pub(crate) mark_at: Position,
    /// Entries before that position, so that a tail which power loss brings back is known to lie above it.
    pub(crate) witnesses: Vec<Witness>,
}

impl RepairPlan {
    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty()
            && self.cut.is_none()
            && self.rewrites.is_empty()
            && self.empty.is_empty()
            && self.again.is_none()
    }

    /// Whether the segment of this number is written anew.
    pub(crate) fn rewrites_segment(&self, number: u64) -> bool {
        self.rewrites.iter().any(|(target, ..)| target.number == number)
    }

    /// What would be kept, without names: for a report of what would be done.
    pub(crate) fn preview(&self) -> Vec<Quarantined> {
        let whole = self.moves.iter().chain(self.rewrites.iter().map(|(target, ..)| target));
        let mut kept: Vec<Quarantined> = whole.map(|target| preview(target, 0)).collect();
        if let Some((target, at, true)) = &self.cut {
            kept.push(preview(target, *at));
        }
        kept
    }

    /// Does it. On an error the plan holds what is left; asking again goes on there. Power loss at any
    /// step leaves a log that the next open reads to the same entries, and repairs further.
    pub(crate) fn apply(
        &mut self,
        storage: &dyn Storage,
        mark: Option<&mut MarkFile>,
        kept: &mut Vec<Quarantined>,
    ) -> Result<(), FileError> {
        if self.is_empty() {
            return Ok(());
        }
        self.move_away(storage, kept)?;
        self.keep_parts(storage, kept)?;
        if let Some(again) = &self.again {
            write_again(storage, again)?;
            self.again = None;
        }
        // DURABILITY: repair-mark. A mark above the cut would call the cut log damaged, so both slots
        // are changed, durably, before the first cut; not sooner, because until then the mark is what
        // tells damage from a torn tail.
        if let Some(mark) = mark {
            mark.write_both(self.mark_at, self.witnesses.clone())
                .map_err(|error| FileError::new("change the durable mark in", storage.path(""), error))?;
        }
        self.cut_tail(storage)?;
        self.rewrite(storage)?;
        if !self.empty.is_empty() {
            for target in &self.empty {
                remove_if_there(storage, &target.name)?;
            }
            sync(storage, Folder::Log)?;
            self.empty.clear();
        }
        Ok(())
    }

    fn move_away(&mut self, storage: &dyn Storage, kept: &mut Vec<Quarantined>) -> Result<(), FileError> {
        let mut moved = false;
        // DURABILITY: repair-move. Highest number first, and the lowest, which may bear the fault itself,
        // only when the others are gone for good: whatever subset of the renames survives, the fault is
        // still there and is found again, or everything behind it is gone.
        while let Some(target) = self.moves.first() {
            if moved && self.moves.len() == 1 {
                sync(storage, Folder::Quarantine)?;
                sync(storage, Folder::Log)?;
            }
            kept.push(move_segment(storage, &target.name, target.number, target.len, &mut self.numbers)?);
            self.moves.remove(0);
            moved = true;
        }
        if moved {
            // Before the cut: else power loss could undo a rename after the cut, and a later segment
            // would follow a log that ends before it.
            sync(storage, Folder::Quarantine)?;
            sync(storage, Folder::Log)?;
        }
        Ok(())
    }

    /// Copies what will be cut or written anew, durably.
    fn keep_parts(&mut self, storage: &dyn Storage, kept: &mut Vec<Quarantined>) -> Result<(), FileError> {
        // DURABILITY: repair-copy. The copies and their names are durable before an original goes.
        if let Some((target, at, keep)) = self.cut.as_mut().filter(|(_, _, keep)| *keep) {
            if *at < target.len {
                kept.push(save_part(
                    storage,
                    &target.name,
                    target.number,
                    *at..target.len,
                    &mut self.numbers,
                )?);
                self.copied = true;
            }
            *keep = false;
        }
        for (target, _, keep) in &mut self.rewrites {
            if *keep {
                kept.push(save_part(storage, &target.name, target.number, 0..target.len, &mut self.numbers)?);
                *keep = false;
                self.copied = true;
            }
        }
        if self.copied {
            sync(storage, Folder::Quarantine)?;
            sync(storage, Folder::Log)?;
            self.copied = false;
        }
        Ok(())
    }

    fn cut_tail(&mut self, storage: &dyn Storage) -> Result<(), FileError> {
        let Some((target, at, _)) = &self.cut else { return Ok(()) };
        let failed = |error| FileError::new("cut", storage.path(&target.name), error);
        let file = storage.open(&target.name, Access::Write).map_err(failed)?;
        if 1 < file.links().map_err(failed)? {
            // A backup shares the file: it keeps what it has, and the log gets its own.
            let first = layout::HEADER_BYTES as u64;
            let part = first..(*at).max(first);
            write_anew(storage, target, std::slice::from_ref(&part))?;
        } else {
            // DURABILITY: repair-cut. Bytes behind the cut are gone for good only after this sync; until
            // then the next open finds the same fault and cuts again.
            file.set_len(*at).map_err(failed)?;
            file.sync().map_err(|error| failed(error).of_sync())?;
        }
        self.cut = None;
        Ok(())
    }

    fn rewrite(&mut self, storage: &dyn Storage) -> Result<(), FileError> {
        while let Some((target, parts, _)) = self.rewrites.first() {
            write_anew(storage, target, parts)?;
            self.rewrites.remove(0);
        }
        Ok(())
    }
}

/// Writes a segment of the given parts beside the old one, then puts it in its place.
fn write_anew(storage: &dyn Storage, target: &Target, parts: &[Range<u64>]) -> Result<(), FileError> {
    let temporary = temporary_name(&format!("{}.repair", target.name));
    let failed = |error| FileError::new("rewrite", storage.path(&target.name), error);
    remove_if_there(storage, &temporary)?;
    let source = storage.open(&target.name, Access::Read).map_err(failed)?;
    let written = || -> std::io::Result<()> {
        let file = storage.create_new(&temporary)?;
        write_all_at(&*file, &SegmentHeader::CURRENT.to_bytes(), 0).map_err(|(_, error)| error)?;
        let mut at = layout::HEADER_BYTES as u64;
        for part in parts {
            copy_range(&*source, part.clone(), &*file, at)?;
            at += part.end.saturating_sub(part.start);
        }
        file.sync()
    };
    if let Err(error) = written() {
        let _ = storage.remove(&temporary);
        return Err(failed(error));
    }
    // DURABILITY: repair-rewrite. Until this rename is durable the old file is the segment, and the next
    // open rewrites it again; at no moment is there neither.
    storage.rename(&temporary, &target.name, Replace::Allowed).map_err(failed)?;
    sync(storage, Folder::Log)
}

/// Writes the same bytes again and syncs them.
///
/// After a failed sync the kernel may show pages that the disk never got, and call them clean: only
/// writing them again makes a sync mean what it says. Used before the first new entry. A file system that
/// writes every block to a new place needs room for that, also where nothing grows.
pub(crate) fn write_again(storage: &dyn Storage, again: &Again) -> Result<(), FileError> {
    let failed = |error| FileError::new("make durable", storage.path(&again.name), error);
    let file = storage.open(&again.name, Access::Write).map_err(failed)?;
    // DURABILITY: recovery-rewrite. What the page cache shows may not be what the disk holds, if a sync
    // failed in an earlier life: the kernel may call pages clean that the disk never got, and only
    // writing them again makes a sync mean what it says.
    copy_range(&*file, again.range.clone(), &*file, again.range.start).map_err(failed)?;
    // The same of a cut: its size is changed again, or a sync would have nothing to do.
    let end = again.range.end;
    if file.len().map_err(failed)? == end {
        file.set_len(end + 1).and_then(|()| file.set_len(end)).map_err(failed)?;
    }
    file.sync().map_err(|error| failed(error).of_sync())
}

/// Opens a file for writing that belongs to this log alone. One that has a name elsewhere too, as after
/// copying a log by hard links, is replaced by a copy: else what is written here would change the other.
pub(crate) fn open_own(storage: &dyn Storage, name: &str) -> std::io::Result<Box<dyn StorageFile>> {
    let file = storage.open(name, Access::Write)?;
    if file.links()? <= 1 {
        return Ok(file);
    }
    let temporary = temporary_name(&format!("{name}.own"));
    match storage.remove(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let own = storage.create_new(&temporary)?;
    copy_range(&*file, 0..file.len()?, &*own, 0)?;
    own.sync()?;
    storage.rename(&temporary, name, Replace::Allowed)?;
    Ok(own)
}

fn preview(target: &Target, offset: u64) -> Quarantined {
    let bytes = target.len.saturating_sub(offset);
    Quarantined { name: String::new(), segment: target.number, offset, bytes }
}

pub(crate) fn remove_if_there(storage: &dyn Storage, name: &str) -> Result<(), FileError> {
    match storage.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::new("remove", storage.path(name), error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn sync(storage: &dyn Storage, folder: Folder) -> Result<(), FileError> {
    storage
        .sync_folder(folder)
        .map_err(|error| FileError::new("sync the directory", storage.path(""), error).of_sync())
}
