//! The whole disk as a value: cloned at a moment, it can lose power in every way there is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wal_segment::Folder;

use crate::block::{SECTOR_BYTES, mix_text};
use crate::choice::{Pick, Unit};
use crate::file::File;
use crate::names::{FOLDER_ID, Names};

/// Files, names, and what is not durable of them. Cloning shares all bytes.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub(crate) names: Names,
    pub(crate) files: BTreeMap<u64, Arc<File>>,
    /// Second names of files, outside the log.
    pub(crate) outside: BTreeMap<PathBuf, u64>,
    /// So many sectors there are.
    pub(crate) capacity: Option<usize>,
    pub(crate) distrusts_reserved: bool,
    last_id: u64,
}

impl Disk {
    /// An empty disk, on which the log directory does not exist.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on reserved space is what it was on ext4 in an experiment: the first sync after a write into it
    /// says yes, and power loss may take the write back.
    pub fn distrust_reserved(&mut self) {
        self.distrusts_reserved = true;
    }

    /// Every change that no sync has covered, in a fixed order.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        self.names.units(&mut units);
        for (id, file) in &self.files {
            file.units(*id, &mut units);
        }
        units
    }

    /// The disk after power loss, everything on it durable. There is a pick for each of
    /// [`units`](Self::units); missing ones count as lost.
    #[must_use]
    pub fn after_power_loss(&self, picks: &[Pick]) -> Self {
        let mut picks = picks.iter().copied();
        let names = self.names.after(&mut picks);
        let mut files = BTreeMap::new();
        for (id, file) in &self.files {
            let after = match file.is_pending() {
                true => Arc::new(file.after(*id, &mut picks)),
                false => Arc::clone(file),
            };
            if names.live.values().chain(self.outside.values()).any(|named| named == id) {
                files.insert(*id, after);
            }
        }
        let outside = self.outside.clone();
        Self { names, files, outside, ..*self }
    }

    /// A number for what readers of the disk see: names, sizes and bytes. Equal disks have equal ones.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint_of(|_| true)
    }

    /// The same for segment files only: the bytes of the log.
    #[must_use]
    pub fn log_fingerprint(&self) -> u64 {
        self.fingerprint_of(|name| wal_segment::dir::segment_number(name).is_some())
    }

    /// The same for one file; `None` when there is none.
    #[must_use]
    pub fn file_fingerprint(&self, name: &str) -> Option<u64> {
        Some(self.files.get(self.names.live.get(name)?)?.fingerprint(0))
    }

    /// What readers see under a name.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let id = *self.names.live.get(name)?;
        self.files.contains_key(&id).then(|| self.bytes_of(id))
    }

    /// Puts a file on the disk, or others bytes into one, durably: as if it had always been so. The log
    /// directory is there then.
    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        if !self.names.has_log() {
            self.names.put("", FOLDER_ID);
        }
        let id = self.names.get(name).unwrap_or_else(|_| self.create(name));
        for folder in [Folder::Parent, Folder::Log, Folder::Quarantine] {
            self.names.sync(folder);
        }
        let mut file = File::default();
        file.write(bytes, 0);
        file.sync();
        self.files.insert(id, Arc::new(file));
    }

    /// The files that have a second name outside the log, as readers see them there.
    pub fn outside(&self) -> impl Iterator<Item = (&Path, Vec<u8>)> {
        self.outside.iter().map(|(path, id)| (path.as_path(), self.bytes_of(*id)))
    }

    /// How many sectors are in use.
    #[must_use]
    pub fn sectors_in_use(&self) -> usize {
        let named = self.files.iter().filter(|(id, _)| self.links(**id) != 0);
        named.map(|(_, file)| file.taken()).sum()
    }

    /// Whether the disk holds only so much.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.capacity.is_some()
    }

    /// How many of these bytes there is room for.
    pub(crate) fn room(&self, id: u64, offset: usize, bytes: usize) -> usize {
        let (Some(capacity), Some(file)) = (self.capacity, self.files.get(&id)) else { return bytes };
        let mut free = capacity.saturating_sub(self.sectors_in_use());
        for index in offset / SECTOR_BYTES..(offset + bytes).div_ceil(SECTOR_BYTES) {
            if file.takes(index) {
                continue;
            }
            if free == 0 {
                return (index * SECTOR_BYTES).saturating_sub(offset);
            }
            free -= 1;
        }
        bytes
    }

    pub(crate) fn links(&self, id: u64) -> usize {
        self.names.live.values().chain(self.outside.values()).filter(|named| **named == id).count()
    }

    /// The name of the file with this number, by which units tell files.
    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<&str> {
        self.names.live.iter().find(|(_, named)| **named == id).map(|(name, _)| name.as_str())
    }

    fn bytes_of(&self, id: u64) -> Vec<u8> {
        let Some(file) = self.files.get(&id) else { return Vec::new() };
        let mut bytes = vec![0; file.len()];
        file.read(&mut bytes, 0);
        bytes
    }

    /// All names of files that readers see, with sizes in bytes.
    pub fn list(&self) -> impl Iterator<Item = (&str, usize)> {
        self.names.live.iter().filter_map(|(name, id)| Some((name.as_str(), self.files.get(id)?.len())))
    }

    pub(crate) fn file(&mut self, id: u64) -> Option<&mut File> {
        self.files.get_mut(&id).map(Arc::make_mut)
    }

    pub(crate) fn create(&mut self, name: &str) -> u64 {
        self.last_id += 1;
        self.files.insert(self.last_id, Arc::default());
        self.names.put(name, self.last_id);
        self.last_id
    }

    fn fingerprint_of(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let mut hash = 0;
        for (name, id) in self.names.live.iter().filter(|(name, _)| wanted(name)) {
            hash = mix_text(hash, name);
            if let Some(file) = self.files.get(id).filter(|_| *id != FOLDER_ID) {
                hash = file.fingerprint(hash);
            }
        }
        hash
    }
}
