//! Writes one segment: prepared under a temporary name, filled, kept ahead with zeros, trimmed.

use std::io;

use wal_format::{SegmentHeader, layout};

use crate::error::is_disk_full;
use crate::options::Preallocation;
use crate::storage::{Storage, StorageFile, write_all_at};

/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A segment file with a header under a temporary name: durable, and waiting to be renamed.
#[derive(Debug)]
pub struct Prepared {
    /// The temporary name.
    pub name: String,
    writer: SegmentWriter,
}

impl Prepared {
    /// Creates the file, writes its header and the first window of space, and syncs it.
    ///
    /// If power fails before the name is synced into its place, the log does not know the file: it
    /// is one of our temporaries, and goes at the next open.
    ///
    /// # Errors
    /// Whatever the disk says. A half-made file is removed, so nothing is left to take back; a
    /// leftover of the same name from an earlier life is replaced.
    pub fn create(storage: &dyn Storage, name: &str, space: Space) -> io::Result<Self> {
        let file = match storage.create_new(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                storage.remove(name)?;
                storage.create_new(name)?
            }
            other => other?,
        };
        let header = SegmentHeader::CURRENT.to_bytes();
        let mut writer = SegmentWriter {
            file,
            written: as_u64(layout::HEADER_BYTES),
            ready: as_u64(layout::HEADER_BYTES),
            asked_at: as_u64(layout::HEADER_BYTES),
            usual_bytes: 0,
            is_nearly_full: false,
            space,
            zeros_instead: false,
        };
        let made = write_all_at(&*writer.file, &header, 0).map_err(|(_, error)| error).and_then(|()| {
            // Space is a wish here: without it the first appends find out.
            match writer.prepare_ahead() {
                Err(error) if !is_disk_full(&error) => Err(error),
                _ => writer.file.sync(),
            }
        });
        match made {
            Ok(()) => Ok(Self { name: name.to_owned(), writer }),
            Err(error) => {
                // The first error is the one to tell; the next open cleans what stays behind.
                let _ = storage.remove(name);
                Err(error)
            }
        }
    }

    /// The writer, once the file bears its own name.
    #[must_use]
    pub fn into_writer(self) -> SegmentWriter {
        self.writer
    }
}

/// A write that failed.
#[derive(Debug)]
pub struct WriteFailure {
    /// What the operating system said.
    pub error: io::Error,
    /// Whether the file is as it was before: cut back to the last whole write.
    pub taken_back: bool,
}

/// The open end of a segment file. One thread at a time writes.
#[derive(Debug)]
pub struct SegmentWriter {
    file: Box<dyn StorageFile>,
    /// Entries end here.
    written: u64,
    /// Behind the entries, the file holds zeros up to here.
    ready: u64,
    /// Entries ended here when space was last asked for.
    asked_at: u64,
    /// So much is written from one asking to the next: a moving mean, in which the last weighs a quarter.
    usual_bytes: u64,
    /// As much again as was written before space was last asked for does not fit the segment.
    is_nearly_full: bool,
    space: Space,
    zeros_instead: bool,
}

/// How much space is prepared ahead of the entries, and in which way.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// The way.
    pub preallocation: Preallocation,
    /// How much at once, in bytes.
    pub window_bytes: u64,
    /// Where no more is prepared: the size above which a segment does not grow, in bytes.
    pub segment_bytes_max: u64,
}

impl SegmentWriter {
    /// Takes up an existing file whose entries end at `written`, where it also ends.
    #[must_use]
    pub fn resume(file: Box<dyn StorageFile>, written: u64, space: Space) -> Self {
        let (ready, asked_at) = (written, written);
        Self {
            file,
            written,
            ready,
            asked_at,
            usual_bytes: 0,
            is_nearly_full: false,
            space,
            zeros_instead: false,
        }
    }

    /// The offset behind the last entry.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Size of the file, prepared space included.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.ready
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &dyn StorageFile {
        &*self.file
    }

    /// Writes whole entries behind the last one. Not durable before [`sync`](Self::sync).
    ///
    /// # Errors
    /// A failed write is cut back to where it began, so that no part of an entry stays behind; if
    /// that fails too, the file's end is unknown and `taken_back` is false.
    pub fn write(&mut self, entries: &[u8]) -> Result<(), WriteFailure> {
        match write_all_at(&*self.file, entries, self.written) {
            Ok(()) => {
                self.written += as_u64(entries.len());
                self.ready = self.ready.max(self.written);
                Ok(())
            }
            Err((_, error)) => {
                let taken_back = self.trim().is_ok();
                Err(WriteFailure { error, taken_back })
            }
        }
    }

    /// Prepares the next window of space when the last one is about to be used up. The space becomes
    /// durable with the next sync, together with the entries before it, so that the syncs after that
    /// one find nothing but data to write. Nothing is prepared when a window would serve fewer than
    /// eight of the usual syncs: a disk whose bandwidth is used up writes every byte twice then.
    /// Where the segment has no room for one more like it, the space left over is trimmed, so that the
    /// rotation to come need not wait for that.
    ///
    /// # Errors
    /// When there is no space; what was prepared in part is given back, and entries are not touched.
    pub fn prepare_ahead(&mut self) -> io::Result<()> {
        let Space { preallocation, window_bytes, segment_bytes_max } = self.space;
        let to = (self.written + window_bytes).min(segment_bytes_max);
        let enough = self.written + window_bytes / 4 < self.ready;
        let at_once = self.written - std::mem::replace(&mut self.asked_at, self.written);
        // Groups of commits differ in size: with the last one alone to go by, files of large entries would
        // change between written twice and growing.
        self.usual_bytes = self.usual_bytes - self.usual_bytes / 4 + at_once / 4;
        let in_vain = window_bytes / 8 < self.usual_bytes;
        self.is_nearly_full = segment_bytes_max < self.written.saturating_add(at_once);
        if self.is_nearly_full && self.has_space_ahead() {
            return self.trim();
        }
        if preallocation == Preallocation::None || enough || in_vain || to <= self.ready {
            return Ok(());
        }
        let from = self.ready.max(self.written);
        let done = self.extend(from, to);
        match done {
            Ok(()) => self.ready = to,
            Err(_) => {
                // Zeros behind the entries harm nobody, but the space may be needed for entries.
                let _ = self.trim();
            }
        }
        done
    }

    fn extend(&mut self, from: u64, to: u64) -> io::Result<()> {
        if self.space.preallocation == Preallocation::Fallocate && !self.zeros_instead {
            match self.file.allocate(from, to - from) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.zeros_instead = true,
                other => return other,
            }
        }
        let mut at = from;
        while at < to {
            let size = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
            let zeros = ZEROS.get(..size).unwrap_or_default();
            write_all_at(&*self.file, zeros, at).map_err(|(_, error)| error)?;
            at += as_u64(size);
        }
        Ok(())
    }

    /// Whether the next sync will probably be of a segment after this one: when
    /// [`prepare_ahead`](Self::prepare_ahead) was last called, as much again as had been written since the
    /// call before did not fit.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.is_nearly_full
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// After a failure the written pages may be lost though reads still show them: the caller must
    /// not ask again.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Cuts the file behind its last entry. Durable with the next sync.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn trim(&mut self) -> io::Result<()> {
        self.file.set_len(self.written)?;
        self.ready = self.written;
        Ok(())
    }

    /// Whether the file holds space behind its last entry.
    #[must_use]
    pub fn has_space_ahead(&self) -> bool {
        self.ready > self.written
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
