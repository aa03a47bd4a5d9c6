//! Hot backup: a consistent copy of a log that is being written.

use std::fmt;
use std::path::Path;

use wal_segment::dir::segment_name;
use wal_segment::{Access, Folder, Position, Storage};

use crate::error::{Error, Result};
use crate::quarantine::{copy_range, fresh_directory};
use crate::shared::Shared;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// Segments in the copy.
    pub segments: u64,
    /// How many of them share their bytes with the log through a hard link.
    pub linked: u64,
    /// Bytes copied.
    pub copied_bytes: u64,
    /// The end of the copy: every entry before it is in.
    pub end: Position,
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} segments up to {}: {} linked, {} bytes copied",
            self.segments, self.end, self.linked, self.copied_bytes
        )
    }
}

/// Copies the log. The caller keeps truncations out, so that sealed segments stay as they are; the
/// active one only grows, and is copied as far as it went when this began. The mark is left out: it
/// would have to be copied before anything else, and a log works without it.
pub(crate) fn run(shared: &Shared, to: &Path) -> Result<BackupReport> {
    let (sealed, active) = {
        let mut io = shared.io.lock();
        io.sync(shared)?;
        let active =
            io.active.as_ref().map(|active| (active.number, active.name.clone(), active.writer.written()));
        (io.sealed.clone(), active)
    };
    let target = fresh_directory(to, shared.options.modes)?;
    let mut report = BackupReport { end: shared.commits.durable(), ..BackupReport::default() };
    for segment in &sealed {
        let name = segment_name(segment.number);
        // The copy goes on in its last segment, which must therefore be its own.
        let last = active.is_none() && report.segments + 1 == sealed.len() as u64;
        if !last && shared.storage.link_out(&segment.name, &to.join(&name)).is_ok() {
            report.linked += 1;
        } else {
            copy(shared, &segment.name, &target, &name, segment.bytes)?;
            report.copied_bytes += segment.bytes;
        }
        report.segments += 1;
    }
    if let Some((number, name, written)) = active {
        copy(shared, &name, &target, &segment_name(number), written)?;
        report.copied_bytes += written;
        report.segments += 1;
        report.end = Position { segment: number, offset: written };
    }
    target
        .sync_folder(Folder::Log)
        .and_then(|()| target.sync_folder(Folder::Parent))
        .map_err(|error| Error::file("sync", to.to_path_buf(), error))?;
    tracing::info!(to = %to.display(), %report, "log backed up");
    Ok(report)
}

fn copy(shared: &Shared, from: &str, target: &dyn Storage, to: &str, bytes: u64) -> Result<()> {
    let copied = || -> std::io::Result<()> {
        let source = shared.storage.open(from, Access::Read)?;
        let out = target.create_new(to)?;
        copy_range(&*source, 0..bytes, &*out, 0)?;
        out.sync()
    };
    copied().map_err(|error| Error::file("copy", shared.storage.path(from), error))
}
