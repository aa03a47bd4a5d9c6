//! The bytes of a disk, of which only blocks that are not all zero take memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const BLOCK_BYTES: usize = 4096;

/// What a disk holds. A clone shares blocks until one of the two changes.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    bytes: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK_BYTES]>>,
}

impl Disk {
    /// A disk of zeros.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, blocks: BTreeMap::new() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let end = self.bytes.min(offset.saturating_add(size as u64));
        let mut found = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap_or(0)];
        pieces(offset, found.len(), |block, within, part| {
            if let (Some(held), Some(target)) = (self.blocks.get(&block), found.get_mut(part.clone())) {
                target.copy_from_slice(held.get(within..within + part.len()).unwrap_or_default());
            }
        });
        found
    }

    /// Writes what lies within the disk.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let fits = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        pieces(offset, fits, |block, within, part| {
            let held = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
            let held = Arc::make_mut(held);
            if let (Some(target), Some(source)) = (held.get_mut(within..within + part.len()), data.get(part))
            {
                target.copy_from_slice(source);
            }
        });
    }

    /// Makes a file that holds the same.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes)?;
        for (block, held) in &self.blocks {
            if held.iter().any(|&byte| byte != 0) {
                file.write_all_at(&held[..], block * BLOCK_BYTES as u64)?;
            }
        }
        Ok(())
    }
}

/// Cuts a range at block boundaries: block, offset in it, and the part of the range.
fn pieces(offset: u64, size: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < size {
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK_BYTES as u64).unwrap_or(0);
        let part = (size - done).min(BLOCK_BYTES - within);
        each(at / BLOCK_BYTES as u64, within, done..done + part);
        done += part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_rest_is_zeros() {
        let mut disk = Disk::new(20_000);
        let data: Vec<u8> = (0..9000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        disk.write(3000, &data);
        assert_eq!(disk.read(3000, 9000), data);
        assert_eq!(disk.read(0, 3000), vec![0; 3000]);
        assert_eq!(disk.read(12_000, 9000), vec![0; 8000], "it ends at its end");
    }

    #[test]
    fn a_clone_does_not_see_later_writes() {
        let mut disk = Disk::new(8192);
        disk.write(0, b"old");
        let clone = disk.clone();
        disk.write(0, b"new");
        assert_eq!((clone.read(0, 3), disk.read(0, 3)), (b"old".to_vec(), b"new".to_vec()));
    }
}
