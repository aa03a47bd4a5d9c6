//! The whole disk as a value: cloned at a moment, it can lose power in every way there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::mix_text;
use crate::choice::{Pick, Unit};
use crate::file::File;
use crate::names::{FOLDER_ID, Names};

/// Files, names, and what is not durable of them. Cloning shares all bytes.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub(crate) names: Names,
    pub(crate) files: BTreeMap<u64, Arc<File>>,
    last_id: u64,
}

impl Disk {
    /// An empty disk, on which the log directory does not exist.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
            if names.live.values().any(|named| named == id) {
                files.insert(*id, after);
            }
        }
        Self { names, files, last_id: self.last_id }
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
        let file = self.files.get(self.names.live.get(name)?)?;
        let mut bytes = vec![0; file.len()];
        file.read(&mut bytes, 0);
        Some(bytes)
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
            if *id != FOLDER_ID
                && let Some(file) = self.files.get(id)
            {
                hash = file.fingerprint(hash);
            }
        }
        hash
    }
}
