//! The smallest disk that a running log can live on. It knows what a sync has covered.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Latch};

use wal_format::{SegmentHeader, layout};
use wal_segment::dir::segment_name;
use wal_segment::{
    Access, Folder, Listed, LockAttempt, LockGuard, Position, Preallocation, Replace, SegmentStats, Storage,
    StorageFile,
};

use crate::WalOptions;
use crate::mark::Trail;
use crate::plan::{AppendAt, Kept};
use crate::sync::Mutex;
use crate::wal::{Start, Wal};

/// Files by name. The latches are the real ones: none is held where a checker may switch threads.
#[derive(Debug, Default)]
pub(super) struct ModelDisk {
    files: Latch<BTreeMap<String, Arc<Contents>>>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Latch<Vec<u8>>,
    /// How many bytes a sync has covered. The checker's own lock: whoever asks has an order with
    /// whoever syncs, so it tries both.
    durable: Mutex<usize>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Writes and syncs still to come until one fails; 0 means never.
    until_write: AtomicU64,
    until_sync: AtomicU64,
    syncs: AtomicU64,
}

/// Whether this call is the one that fails.
fn is_due(until: &AtomicU64) -> bool {
    let left = until.load(Ordering::Relaxed);
    until.store(left.saturating_sub(1), Ordering::Relaxed);
    left == 1
}

impl ModelDisk {
    /// The n-th sync from now on fails; 1 is the next.
    pub(super) fn fail_sync(&self, nth: u64) {
        self.faults.until_sync.store(nth, Ordering::Relaxed);
    }

    /// The n-th write from now on finds the disk full.
    pub(super) fn fill_up(&self, nth: u64) {
        self.faults.until_write.store(nth, Ordering::Relaxed);
    }

    /// How many syncs there were.
    pub(super) fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::Relaxed)
    }

    /// Whether everything before the position would survive power loss.
    pub(super) fn covers(&self, position: Position) -> bool {
        let file = self.files.lock().unwrap().get(&segment_name(position.segment)).map(Arc::clone);
        file.is_some_and(|file| position.offset <= *file.durable.lock() as u64)
    }

    /// The log on this disk, which holds an empty first segment.
    pub(super) fn start(self: &Arc<Self>, options: WalOptions) -> Wal {
        let header = SegmentHeader::CURRENT.to_bytes().to_vec();
        let (name, bytes) = (segment_name(1), header.len());
        let first = Contents { durable: Mutex::new(bytes), bytes: Latch::new(header) };
        self.files.lock().unwrap().insert(name.clone(), Arc::new(first));
        let at = Position { segment: 1, offset: layout::HEADER_BYTES as u64 };
        Wal::start(Start {
            storage: Arc::clone(self) as Arc<dyn Storage>,
            lock: LockGuard::new(()),
            options: options.preallocation(Preallocation::None),
            kept: vec![Kept { number: 1, name, bytes: bytes as u64, stats: SegmentStats::default() }],
            append_at: AppendAt::Continue(at),
            durable: at,
            mark: None,
            trail: Trail::default(),
            repair: None,
            corruptions: 0,
        })
        .unwrap()
    }

    fn find(&self, name: &str) -> io::Result<Arc<Contents>> {
        let files = self.files.lock().unwrap();
        files.get(name).map(Arc::clone).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn handle(&self, contents: Arc<Contents>) -> Box<dyn StorageFile> {
        Box::new(ModelFile { contents, faults: Arc::clone(&self.faults) })
    }
}

/// For calls that a log which only runs never makes.
fn not_modelled<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Storage for ModelDisk {
    fn create_log_folder(&self) -> io::Result<bool> {
        not_modelled()
    }

    fn create_quarantine(&self) -> io::Result<()> {
        not_modelled()
    }

    fn list(&self, _: Folder) -> io::Result<Vec<Listed>> {
        not_modelled()
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Box<dyn StorageFile>> {
        Ok(self.handle(self.find(name)?))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let contents = Arc::<Contents>::default();
        let mut files = self.files.lock().unwrap();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), Arc::clone(&contents));
        drop(files);
        Ok(self.handle(contents))
    }

    fn rename(&self, from: &str, to: &str, _: Replace) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let contents = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        assert!(files.insert(to.to_owned(), contents).is_none(), "{to} was there");
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: Folder) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<LockAttempt> {
        not_modelled()
    }

    fn is_locked(&self) -> io::Result<bool> {
        not_modelled()
    }

    fn link_out(&self, _: &str, _: &std::path::Path) -> io::Result<()> {
        not_modelled()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/model").join(name)
    }
}

#[derive(Debug)]
struct ModelFile {
    contents: Arc<Contents>,
    faults: Arc<Faults>,
}

impl StorageFile for ModelFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.bytes.lock().unwrap().len() as u64)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        not_modelled()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if is_due(&self.faults.until_write) {
            return Err(io::Error::from_raw_os_error(28));
        }
        let mut there = self.contents.bytes.lock().unwrap();
        assert_eq!(there.len() as u64, offset, "entries go in one behind the other");
        there.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        let covered = self.contents.bytes.lock().unwrap().len();
        // Others run before it is done, and between that and the answer.
        let mut durable = self.contents.durable.lock();
        if is_due(&self.faults.until_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        *durable = covered;
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.contents.bytes.lock().unwrap().resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        not_modelled()
    }

    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }
}
