//! How much space a segment keeps ready behind its entries.
#![allow(clippy::unwrap_used)]

use wal_segment::{Modes, OsStorage, Preallocation, Prepared, SegmentWriter, Space, Storage};

const WINDOW_BYTES: u64 = 64 << 10;
const SEGMENT_BYTES: u64 = 1 << 20;

/// A writer whose first window is prepared.
fn writer(dir: &std::path::Path) -> SegmentWriter {
    let storage = OsStorage::new(dir, Modes::default());
    storage.create_log_folder().unwrap();
    let space = Space {
        preallocation: Preallocation::ZeroFill,
        window_bytes: WINDOW_BYTES,
        segment_bytes_max: SEGMENT_BYTES,
    };
    Prepared::create(&storage, "000000", space).unwrap().into_writer()
}

/// Writes so many bytes, asks for space and gives how much there is then.
fn ahead_after(writer: &mut SegmentWriter, bytes: usize) -> u64 {
    writer.write(&vec![1; bytes]).unwrap();
    writer.prepare_ahead().unwrap();
    writer.file_bytes() - writer.written()
}

#[test]
fn small_syncs_always_find_space() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    for _ in 0..100 {
        let ahead = ahead_after(&mut writer, 8 << 10);
        assert!(WINDOW_BYTES / 4 <= ahead, "{ahead} bytes at {}", writer.written());
    }
}

#[test]
fn for_large_syncs_nothing_is_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let large = 32 << 10;
    while writer.has_space_ahead() {
        ahead_after(&mut writer, large);
    }
    assert_eq!(ahead_after(&mut writer, large), 0);
    assert_eq!(ahead_after(&mut writer, 100), 0, "one small sync among large ones is no reason");
    assert_eq!(ahead_after(&mut writer, large), 0);
    let small = (1..=6).find(|_| ahead_after(&mut writer, 100) != 0);
    assert!(small.is_some(), "small ones find it again");
}

#[test]
fn space_for_which_the_segment_has_no_use_is_trimmed_with_the_last_sync_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let sync_bytes = 6_000;
    while writer.written() + 2 * sync_bytes as u64 <= SEGMENT_BYTES {
        ahead_after(&mut writer, sync_bytes);
        assert_eq!(writer.is_nearly_full(), SEGMENT_BYTES < writer.written() + sync_bytes as u64);
        assert!(writer.has_space_ahead());
    }
    assert_eq!(ahead_after(&mut writer, sync_bytes), 0);
    assert!(writer.is_nearly_full());
    assert_ne!(ahead_after(&mut writer, 100), 0, "smaller ones find it again");
    assert!(!writer.is_nearly_full());
}
