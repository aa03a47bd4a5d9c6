//! An open file of the simulated disk.

use std::io;
use std::sync::MutexGuard;

use wal_segment::{Access, StorageFile};

use crate::disk::Disk;
use crate::faults::{Call, Outcome, error_of};
use crate::file::as_offset;
use crate::storage::{Running, SimDisk, as_u64};

/// An open file: it stays itself when its name changes.
#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    id: u64,
    access: Access,
}

impl SimFile {
    pub(crate) fn new(disk: SimDisk, id: u64, access: Access) -> Self {
        Self { disk, id, access }
    }

    fn name(id: u64) -> impl FnOnce(&Disk) -> String {
        move |disk| disk.name_of(id).unwrap_or("(a file without a name)").to_owned()
    }

    /// A call that writes begins; how many bytes it may handle.
    fn begin_write(&self, call: Call) -> io::Result<(MutexGuard<'_, Running>, usize)> {
        if self.access == Access::Read {
            return Err(io::Error::from_raw_os_error(9));
        }
        let mut running = self.disk.running();
        match running.begin(call, Self::name(self.id))? {
            Some(Outcome::Short(bytes)) => Ok((running, bytes)),
            outcome => error_of(outcome).map(|()| (running, usize::MAX)),
        }
    }
}

impl StorageFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.running().disk.files.get(&self.id).map_or(0, |file| as_u64(file.len())))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut running = self.disk.running();
        let limit = match running.begin(Call::Read, Self::name(self.id))? {
            Some(Outcome::Short(bytes)) => bytes,
            outcome => error_of(outcome).map(|()| usize::MAX)?,
        };
        let Some(file) = running.disk.files.get(&self.id) else { return Ok(0) };
        let Ok(offset) = usize::try_from(offset) else { return Ok(0) };
        let over = buffer.len().saturating_sub(file.len().saturating_sub(offset));
        let size = buffer.len().min(limit);
        let done = file.read(buffer.get_mut(..size).unwrap_or_default(), offset);
        running.overread = running.overread.max(over);
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let offset = as_offset(offset)?;
        let (mut running, limit) = self.begin_write(Call::Write)?;
        let room = running.disk.room(self.id, offset, bytes.len());
        if room == 0 && !bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let part = bytes.get(..bytes.len().min(limit).min(room)).unwrap_or_default();
        if let Some(file) = running.disk.file(self.id).filter(|_| !part.is_empty()) {
            file.write(part, offset);
        }
        Ok(part.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut running = self.disk.running();
        let outcome = running.begin(Call::Sync, Self::name(self.id))?;
        if let Some(file) = running.disk.file(self.id) {
            match outcome {
                Some(Outcome::Forget(_)) => file.forget(),
                Some(Outcome::Errno(_)) => {}
                _ => file.sync(),
            }
        }
        error_of(outcome)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = as_offset(bytes)?;
        let (mut running, _) = self.begin_write(Call::SetLen)?;
        if let Some(file) = running.disk.file(self.id) {
            file.set_len(bytes);
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let end = as_offset(offset.saturating_add(bytes))?;
        let (mut running, _) = self.begin_write(Call::Allocate)?;
        let (from, wanted) = (as_offset(offset)?, as_offset(bytes)?);
        if running.disk.room(self.id, from, wanted) < wanted {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let distrusted = running.disk.distrusts_reserved;
        if let Some(file) = running.disk.file(self.id) {
            if file.len() < end {
                file.set_len(end);
            }
            file.reserve(from, end, distrusted);
        }
        Ok(())
    }

    fn links(&self) -> io::Result<u64> {
        Ok(as_u64(self.disk.running().disk.links(self.id)))
    }
}
