//! The one file with unsafe code: a window of a file, mapped for reading.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A part of a file, mapped into memory for reading.
///
/// A mapped page whose file was cut shorter kills the process with SIGBUS when touched, and an I/O
/// error does the same. So only the log's own replay maps, while it holds the writer's lock and
/// nobody who plays by the rules cuts the file; readers beside a writer never do.
#[derive(Debug)]
pub struct MappedWindow {
    map: memmap2::Mmap,
}

impl MappedWindow {
    /// Maps `bytes` bytes from `offset` on, or as many as the file still has there.
    ///
    /// # Errors
    /// When the operating system refuses, or when the file ends at or before `offset`.
    pub fn new(file: &File, offset: u64, bytes: usize) -> io::Result<Self> {
        let left = file.metadata()?.len().saturating_sub(offset);
        let bytes = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        if bytes == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // SAFETY: the window is read only, lies within the file as it is now, and lives no longer
        // than the map. The bytes could still change or vanish under us if another process wrote
        // or cut the file; the caller holds the log's lock, which is the agreement against that,
        // and everything read through the window is checked like bytes from anywhere.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(bytes).map(file)? };
        // Advice only: a refusal changes nothing but speed.
        let _ = map.advise(memmap2::Advice::Sequential);
        Ok(Self { map })
    }
}

impl Deref for MappedWindow {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
