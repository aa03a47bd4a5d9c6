//! Logs for one writer: behind a lock, or behind a queue and a thread of their own where many threads commit.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use crate::peer::{Answer, Log, Purpose, not_this};
use crate::work::Source;

/// A log whose methods need it alone.
pub(crate) trait Single: Send + Sized + 'static {
    fn open(dir: &Path, purpose: Purpose) -> Answer<Self>;
    fn append_all(&mut self, source: &mut Source<'_>) -> Answer<()>;
    fn put(&mut self, payload: &[u8]) -> Answer<()>;
    /// Makes durable what was put.
    fn sync(&mut self) -> Answer<()>;
    fn close(self) -> Answer<()>;
}

/// Opens it the way that suits the number of threads.
pub(crate) fn open<S: Single>(dir: &Path, purpose: Purpose) -> Answer<Box<dyn Log>> {
    let log = S::open(dir, purpose)?;
    match purpose {
        Purpose::Commit { threads } if 1 < threads => Ok(Box::new(Queue::new(log)?)),
        _ => Ok(Box::new(Locked(Mutex::new(log)))),
    }
}

struct Locked<S>(Mutex<S>);

impl<S: Single> Log for Locked<S> {
    fn append_all(&self, source: &mut Source<'_>) -> Answer<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append_all(source)
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.put(payload)?;
        log.sync()
    }

    fn close(self: Box<Self>) -> Answer<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).close()
    }
}

/// The documented way to share such a log: whatever waits in the queue is put, and one sync serves all of it.
struct Queue {
    jobs: Sender<Job>,
    failed: Arc<AtomicBool>,
    writer: JoinHandle<Answer<()>>,
}

struct Job {
    payload: Vec<u8>,
    done: Arc<AtomicBool>,
    waiter: Thread,
}

impl Queue {
    fn new<S: Single>(log: S) -> Answer<Self> {
        let (jobs, queue) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&failed);
        let writer = std::thread::Builder::new().spawn(move || serve(log, &queue, &told))?;
        Ok(Self { jobs, failed, writer })
    }
}

fn serve<S: Single>(mut log: S, queue: &Receiver<Job>, failed: &AtomicBool) -> Answer<()> {
    let mut served = Vec::new();
    let mut outcome = Ok(());
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(Job { payload, done, waiter }) = next {
            outcome = outcome.and_then(|()| log.put(&payload));
            served.push((done, waiter));
            next = queue.try_recv().ok();
        }
        outcome = outcome.and_then(|()| log.sync());
        failed.store(outcome.is_err(), Ordering::Release);
        for (done, waiter) in served.drain(..) {
            done.store(true, Ordering::Release);
            waiter.unpark();
        }
    }
    outcome.and_then(|()| log.close())
}

impl Log for Queue {
    fn append_all(&self, _: &mut Source<'_>) -> Answer<()> {
        not_this("a queue")
    }

    fn commit(&self, _: usize, payload: &[u8]) -> Answer<()> {
        thread_local! {
            static DONE: OnceCell<Arc<AtomicBool>> = const { OnceCell::new() };
        }
        let done = DONE.with(|cell| Arc::clone(cell.get_or_init(Arc::default)));
        done.store(false, Ordering::Relaxed);
        let waiter = std::thread::current();
        let job = Job { payload: payload.to_vec(), done: Arc::clone(&done), waiter };
        self.jobs.send(job).map_err(|_| "the writer of the queue is gone")?;
        while !done.load(Ordering::Acquire) {
            std::thread::park();
        }
        if self.failed.load(Ordering::Acquire) {
            return Err("the writer of the queue failed".into());
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Answer<()> {
        let Self { jobs, writer, .. } = *self;
        drop(jobs);
        writer.join().map_err(|_| "the writer of the queue panicked")?
    }
}
