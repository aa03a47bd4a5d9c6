//! The warnings that opening a log gives: one for each thing that is odd about it, and none for a clean one.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{flip, log_values, open, small, written};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use wal_format::{EntryKind, frame_payload};

/// Remembers the messages of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The warnings given while the log is opened and closed again.
fn warnings(dir: &Path) -> Vec<String> {
    let seen = Warnings::default();
    tracing::subscriber::with_default(seen.clone(), || {
        let (wal, ..) = open(dir, small().background_thread(false).replay_threads(1));
        wal.close().unwrap();
    });
    seen.0.lock().unwrap().clone()
}

#[test]
fn a_clean_log_is_opened_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..40, small());
    assert_eq!(warnings(dir.path()), Vec::<String>::new());
}

#[test]
fn each_oddity_of_a_log_has_its_warning() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 0..5, small());
    fs::write(dir.path().join("notes.txt"), b"mine").unwrap();
    assert_eq!(warnings(dir.path()), ["unknown name in the log directory; left alone"]);
    fs::remove_file(dir.path().join("notes.txt")).unwrap();

    // A valid checksum around a samples payload that is no payload.
    let segment = dir.path().join("000001");
    let mut bytes = fs::read(&segment).unwrap();
    frame_payload(EntryKind::Samples, 1, &[1, 2, 3], &mut bytes).unwrap();
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(warnings(dir.path()), ["entries do not decode; skipped"]);

    let last = bytes.len() - 1;
    flip(&segment, last);
    assert_eq!(warnings(dir.path())[0], "log is not clean; repairing");
    assert_eq!(warnings(dir.path()), Vec::<String>::new(), "it was repaired");

    // The mark of another log.
    let other = tempfile::tempdir().unwrap();
    let (wal, ..) = open(other.path(), small());
    log_values(&wal, 100..105);
    wal.close().unwrap();
    fs::copy(other.path().join("durable"), dir.path().join("durable")).unwrap();
    assert_eq!(warnings(dir.path()), ["the durable mark does not belong to this log"]);
}
