//! What the threads of a model do, and what must hold whoever runs when.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use wal_segment::Position;
use wal_types::{Sample, SeriesRef};

use super::disk::ModelDisk;
use crate::sync::{self, Condvar, Mutex};
use crate::{ErrorKind, Result, Wal, WalOptions};

/// How a thread commits: as the log does, or with a defect.
pub(super) type Commit = fn(&Wal, Position) -> Result<()>;

/// One entry's bytes: a frame around a sample.
const ENTRY_BYTES: u64 = 36;

fn append(wal: &Wal, thread: u64) -> Result<Position> {
    wal.log_samples(&[Sample { series_ref: SeriesRef(thread), time_ms: 1, value: 1.0 }])
}

/// Appends an entry and commits it. A yes must be true.
fn append_and_commit(wal: &Wal, disk: &ModelDisk, thread: u64, commit: Commit) -> Result<()> {
    let end = append(wal, thread)?;
    let told = commit(wal, end);
    if told.is_ok() {
        assert!(disk.covers(end), "thread {thread} heard yes for {end}, which no sync has covered");
        assert!(end <= wal.durable_position());
    }
    told
}

/// Several threads, one of them the caller, do the same; returns what each came to.
fn beside<T: Send + 'static>(threads: u64, work: impl Fn(u64) -> T + Send + Sync + 'static) -> Vec<T> {
    let work = Arc::new(work);
    let results = Arc::new(Mutex::new(Vec::new()));
    let others: Vec<_> = (1..threads)
        .map(|thread| {
            let (work, results) = (Arc::clone(&work), Arc::clone(&results));
            sync::spawn("committer", move || {
                let result = work(thread);
                results.lock().push(result);
            })
            .unwrap()
        })
        .collect();
    let mine = work(0);
    others.into_iter().for_each(|other| other.join().unwrap());
    let mut all = std::mem::take(&mut *results.lock());
    all.push(mine);
    all
}

/// The hand-off alone: the entries are logged beforehand, one for each committer.
pub(super) fn hand_off(threads: u64, commit: Commit) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(threaded(true)));
    let ends: Vec<_> = (0..threads).map(|thread| append(&wal, thread).unwrap()).collect();
    let all = beside(threads, {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move |thread| {
            let end = ends[usize::try_from(thread).unwrap()];
            commit(&wal, end).unwrap();
            disk.covers(end)
        }
    });
    assert!(all.into_iter().all(|covered| covered), "someone heard yes for what no sync has covered");
}

pub(super) fn threaded(background: bool) -> WalOptions {
    WalOptions::default().background_thread(background)
}

/// Every committer hears yes.
pub(super) fn committers(threads: u64, options: WalOptions, commit: Commit) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(options));
    let all = beside(threads, {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move |thread| append_and_commit(&wal, &disk, thread, commit)
    });
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert!(disk.syncs() <= threads, "no sync is for nobody");
    Arc::into_inner(wal).unwrap().close().unwrap();
}

/// The first sync fails: whoever is not durable hears of it, and so does whoever comes later.
pub(super) fn failing_sync(threads: u64, options: WalOptions) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(options));
    disk.fail_sync(1);
    let all = beside(threads, {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move |thread| append_and_commit(&wal, &disk, thread, Wal::commit)
    });
    for told in all {
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Poisoned);
    }
    assert_eq!(disk.syncs(), 1, "a failed sync is never asked again");
    assert_eq!(append(&wal, 0).unwrap_err().kind(), ErrorKind::Poisoned);
}

/// The first write finds the disk full, later ones find room: a refusal says so, and nothing is lost.
pub(super) fn full_disk(threads: u64, options: WalOptions) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(options));
    disk.fill_up(1);
    let all = beside(threads, {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move |thread| append_and_commit(&wal, &disk, thread, Wal::commit)
    });
    for told in all {
        assert!(
            told.is_ok() || told.as_ref().is_err_and(|error| error.kind() == ErrorKind::DiskFull),
            "{told:?}"
        );
    }
    wal.sync().unwrap();
    assert!(disk.covers(wal.end()), "what was accepted is written when there is room");
    Arc::into_inner(wal).unwrap().close().unwrap();
}

/// A second entry does not fit the segment: the log rotates while others commit.
pub(super) fn rotation(threads: u64, background: bool) {
    let options = threaded(background).segment_bytes_max(8 + ENTRY_BYTES + ENTRY_BYTES / 2);
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(options));
    let all = beside(threads, {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move |thread| append_and_commit(&wal, &disk, thread, Wal::commit)
    });
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(wal.end().segment, threads, "each entry has a segment to itself");
    Arc::into_inner(wal).unwrap().close().unwrap();
}

/// Buffers of one entry: an appender finds both full and writes, beside the log's thread.
pub(super) fn full_buffers(threads: u64, entries: u64) {
    let options = threaded(true).buffer_bytes(1);
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(options));
    let ends = beside(threads, {
        let wal = Arc::clone(&wal);
        move |thread| (0..entries).map(|_| append(&wal, thread).unwrap()).max().unwrap()
    });
    let end = ends.into_iter().max().unwrap();
    assert_eq!(end.offset, 8 + threads * entries * ENTRY_BYTES, "nothing lost, nothing twice");
    wal.commit(end).unwrap();
    assert!(disk.covers(end));
    Arc::into_inner(wal).unwrap().close().unwrap();
}

/// Each thread commits and lets go of the log; the last one closes it.
pub(super) fn last_one_closes(threads: u64) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Mutex::new(vec![Arc::new(disk.start(threaded(true)))]);
    let first = Arc::clone(&wal.lock()[0]);
    wal.lock().extend((1..threads).map(|_| Arc::clone(&first)));
    drop(first);
    let closed = beside(threads, {
        let disk = Arc::clone(&disk);
        move |thread| {
            let wal = wal.lock().pop().unwrap();
            append_and_commit(&wal, &disk, thread, Wal::commit).unwrap();
            Arc::into_inner(wal).map(|wal| wal.close().unwrap())
        }
    });
    assert_eq!(closed.into_iter().flatten().count(), 1);
}

/// One inside the gate at a time, and none waits for ever.
pub(super) fn gate(threads: u64) {
    let gate = crate::shared::Gate::default();
    let inside = Mutex::new(0);
    beside(threads, move |_| {
        let held = gate.enter().unwrap();
        assert_eq!(gate.enter().unwrap_err().kind(), ErrorKind::Nested);
        *inside.lock() += 1;
        assert_eq!(*inside.lock(), 1, "two are inside");
        *inside.lock() -= 1;
        drop(held);
    });
}

/// A committer finds someone at the files, queues, and hears from the log's thread how it went.
pub(super) fn queued(fails: bool) {
    let disk = Arc::<ModelDisk>::default();
    let wal = Arc::new(disk.start(threaded(true)));
    let end = append(&wal, 0).unwrap();
    if fails {
        disk.fail_sync(1);
    }
    let files = wal.shared.io.lock();
    let committer = sync::spawn("committer", {
        let (wal, disk) = (Arc::clone(&wal), Arc::clone(&disk));
        move || {
            let told = wal.commit(end);
            assert_eq!(told.err().map(|error| error.kind()), fails.then_some(ErrorKind::Poisoned));
            assert!(fails || disk.covers(end), "a yes for {end}, which no sync has covered");
        }
    });
    // A look at the log while the files are held: the committer may run here, and must not take them.
    assert!(wal.durable_position() < end);
    drop(files);
    committer.unwrap().join().unwrap();
}

/// Wakes a thread that runs one task.
#[derive(Debug, Default)]
struct Task {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.woken.lock() = true;
        self.changed.notify_one();
    }
}

impl Task {
    /// Runs a future to its end on this thread.
    fn run<T>(future: impl Future<Output = T>) -> T {
        let task = Arc::<Self>::default();
        let waker = Arc::clone(&task).into();
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return done;
            }
            let mut woken = task.woken.lock();
            while !*woken {
                task.changed.wait(&mut woken);
            }
            *woken = false;
        }
    }
}

/// A task awaits a commit while the log is closed, or dropped: it is answered, and truly.
pub(super) fn awaited(closes: bool, background: bool) {
    let disk = Arc::<ModelDisk>::default();
    let wal = disk.start(threaded(background));
    let end = append(&wal, 0).unwrap();
    let commit = wal.commit_async(end);
    let task = sync::spawn("task", {
        let disk = Arc::clone(&disk);
        move || {
            let told = Task::run(commit);
            match told {
                Ok(()) => assert!(disk.covers(end), "a yes for {end}, which no sync has covered"),
                Err(error) => assert!(!closes && error.kind() == ErrorKind::Closed, "{error}"),
            }
        }
    });
    if closes {
        wal.close().unwrap();
    } else {
        drop(wal);
    }
    let asked = disk.syncs();
    task.unwrap().join().unwrap();
    assert!(background || asked == disk.syncs(), "files were touched after the log had let go of them");
}
