//! The contract of the storage seam, held against the real file system, the simulated disk, and that behind the
//! decorator which makes the seeded defects, when it makes none.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::ErrorKind;
use std::sync::Arc;

use wal_segment::{Access, FileKind, Folder, LockAttempt, Modes, OsStorage, Replace, Storage};
use wal_sim::{Broken, Call, Defect, Disk, Fault, Outcome, SimDisk};

/// Holds one part of the contract against every implementation.
fn on_every_storage(contract: impl Fn(&dyn Storage)) {
    let dir = tempfile::tempdir().unwrap();
    let real = OsStorage::new(&dir.path().join("log"), Modes::default());
    real.create_log_folder().unwrap();
    contract(&real);
    let simulated = || {
        let simulated = SimDisk::new(Disk::new());
        simulated.create_log_folder().unwrap();
        simulated
    };
    contract(&simulated());
    contract(&Broken::new(Arc::new(simulated()), Defect::None));
}

fn names(storage: &dyn Storage, folder: Folder) -> Vec<String> {
    let listed = storage.list(folder).unwrap().into_iter();
    let mut names: Vec<String> = listed.map(|found| found.name).filter(|name| name != "lock").collect();
    names.sort();
    names
}

fn write(storage: &dyn Storage, name: &str, bytes: &[u8]) {
    assert_eq!(storage.create_new(name).unwrap().write_at(bytes, 0).unwrap(), bytes.len());
}

fn read(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 10_000];
    let have = storage.open(name, Access::Read).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes.truncate(have);
    bytes
}

#[test]
fn the_log_directory_is_created_once() {
    let dir = tempfile::tempdir().unwrap();
    let real = OsStorage::new(&dir.path().join("log"), Modes::default());
    let simulated = SimDisk::new(Disk::new());
    for storage in [&real as &dyn Storage, &simulated] {
        assert_eq!(storage.create_new("a").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(storage.list(Folder::Log).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(storage.create_log_folder().unwrap());
        assert!(!storage.create_log_folder().unwrap());
        storage.sync_folder(Folder::Parent).unwrap();
        assert!(names(storage, Folder::Log).is_empty());
    }
}

#[test]
fn a_file_is_created_only_where_none_is() {
    on_every_storage(|storage| {
        let file = storage.create_new("000001").unwrap();
        assert!(file.is_empty().unwrap());
        assert_eq!(storage.create_new("000001").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(storage.open("000002", Access::Write).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn what_is_written_is_read_with_zeros_in_the_holes() {
    on_every_storage(|storage| {
        let file = storage.create_new("a").unwrap();
        file.write_at(b"behind", 1500).unwrap();
        file.write_at(b"at", 510).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 1506);
        let mut wanted = vec![0; 1506];
        wanted[510..512].copy_from_slice(b"at");
        wanted[1500..].copy_from_slice(b"behind");
        assert_eq!(read(storage, "a"), wanted);
        let mut rest = [1; 4];
        assert_eq!(file.read_at(&mut rest, 1506).unwrap(), 0, "the end");
        assert_eq!(file.read_at(&mut rest, 1504).unwrap(), 2, "less than asked");
    });
}

#[test]
fn a_cut_file_that_grows_again_shows_zeros() {
    on_every_storage(|storage| {
        write(storage, "a", &[7; 1200]);
        let file = storage.open("a", Access::Write).unwrap();
        file.set_len(600).unwrap();
        assert_eq!(read(storage, "a"), vec![7; 600]);
        file.set_len(1200).unwrap();
        let mut wanted = vec![7; 600];
        wanted.resize(1200, 0);
        assert_eq!(read(storage, "a"), wanted);
    });
}

#[test]
fn reserved_space_reads_as_zeros_and_never_shrinks_a_file() {
    on_every_storage(|storage| {
        write(storage, "a", &[7; 100]);
        let file = storage.open("a", Access::Write).unwrap();
        match file.allocate(100, 900) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
            Ok(()) => assert_eq!(file.len().unwrap(), 1000),
        }
        assert!(file.allocate(0, 50).is_err() || file.len().unwrap() == 1000);
        assert!(read(storage, "a")[100..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn an_open_file_follows_its_names() {
    on_every_storage(|storage| {
        let file = storage.create_new("a").unwrap();
        storage.rename("a", "b", Replace::Never).unwrap();
        file.write_at(b"moved", 0).unwrap();
        assert_eq!(read(storage, "b"), b"moved");
        assert_eq!(file.links().unwrap(), 1);
        storage.remove("b").unwrap();
        file.write_at(b"still", 0).unwrap();
        assert_eq!(file.links().unwrap(), 0);
        assert!(names(storage, Folder::Log).is_empty());
    });
}

#[test]
fn a_rename_replaces_only_when_allowed() {
    on_every_storage(|storage| {
        write(storage, "a", b"a");
        write(storage, "b", b"b");
        let refused = storage.rename("a", "b", Replace::Never).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(read(storage, "b"), b"b");
        storage.rename("a", "b", Replace::Allowed).unwrap();
        assert_eq!(read(storage, "b"), b"a");
        assert_eq!(names(storage, Folder::Log), ["b"]);
        let gone = storage.rename("a", "c", Replace::Never).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn the_quarantine_is_empty_until_it_is_made() {
    on_every_storage(|storage| {
        assert!(names(storage, Folder::Quarantine).is_empty());
        write(storage, "a", b"a");
        let early = storage.rename("a", "quarantine/a", Replace::Never).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::NotFound);
        storage.create_quarantine().unwrap();
        storage.create_quarantine().unwrap();
        storage.rename("a", "quarantine/a", Replace::Never).unwrap();
        storage.sync_folder(Folder::Quarantine).unwrap();
        storage.sync_folder(Folder::Log).unwrap();
        assert_eq!(names(storage, Folder::Quarantine), ["a"]);
        assert_eq!(read(storage, "quarantine/a"), b"a");
        let listed = storage.list(Folder::Log).unwrap();
        let folder = listed.iter().find(|found| found.name == "quarantine").unwrap();
        assert_eq!((folder.kind, folder.bytes), (FileKind::Folder, 0));
        assert_eq!(storage.open("quarantine", Access::Read).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn removing_what_is_not_there_is_not_found() {
    on_every_storage(|storage| {
        assert_eq!(storage.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_file_opened_for_reading_takes_no_writes() {
    on_every_storage(|storage| {
        write(storage, "a", b"a");
        let file = storage.open("a", Access::Read).unwrap();
        assert!(file.write_at(b"b", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert_eq!(read(storage, "a"), b"a");
    });
}

#[test]
fn the_lock_is_held_by_one_and_let_go_with_its_guard() {
    on_every_storage(|storage| {
        assert!(!storage.is_locked().unwrap());
        let held = storage.lock().unwrap();
        assert!(matches!(held, LockAttempt::Taken(_)));
        assert!(matches!(storage.lock().unwrap(), LockAttempt::HeldBy(_)));
        assert!(storage.is_locked().unwrap());
        drop(held);
        assert!(matches!(storage.lock().unwrap(), LockAttempt::Taken(_)));
    });
}

#[test]
fn a_second_name_outside_is_counted_and_shows_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("copy");
    let real = OsStorage::new(&dir.path().join("log"), Modes::default());
    let simulated = SimDisk::new(Disk::new());
    for storage in [&simulated as &dyn Storage, &real] {
        storage.create_log_folder().unwrap();
        write(storage, "a", b"a");
        storage.link_out("a", &target).unwrap();
        let file = storage.open("a", Access::Write).unwrap();
        assert_eq!(file.links().unwrap(), 2);
        assert_eq!(storage.link_out("a", &target).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(storage.link_out("b", &target).unwrap_err().kind(), ErrorKind::NotFound);
        storage.remove("a").unwrap();
        assert_eq!(file.links().unwrap(), 1);
    }
    assert_eq!(std::fs::read(&target).unwrap(), b"a");
    let after = simulated.disk().after_power_loss(&[]);
    assert_eq!(after.outside().map(|(path, _)| path.to_path_buf()).collect::<Vec<_>>(), [target]);
}

#[test]
fn a_full_disk_takes_what_there_is_room_for() {
    let sim = SimDisk::new(Disk::new());
    sim.create_log_folder().unwrap();
    let file = sim.create_new("a").unwrap();
    file.write_at(&[7; 700], 0).unwrap();
    sim.limit(Some(sim.disk().sectors_in_use() + 1));
    assert_eq!(file.write_at(&[8; 5000], 700).unwrap(), 1536 - 700, "the sector begun, and one more");
    assert_eq!(file.write_at(&[8; 10], 1536).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[9; 100], 0).unwrap(), 100, "space that is taken is written over");
    assert_eq!(file.allocate(1536, 10).unwrap_err().kind(), ErrorKind::StorageFull);
    file.set_len(512).unwrap();
    file.allocate(512, 1024).unwrap();
    assert_eq!(file.write_at(&[8; 2000], 512).unwrap(), 1024, "what was reserved");
    assert!(sim.disk().after_power_loss(&[]).is_limited());
    sim.limit(None);
    assert_eq!(file.write_at(&[8; 5000], 0).unwrap(), 5000);
}

#[test]
fn reserved_space_that_is_distrusted_forgets_its_first_sync() {
    for distrusted in [false, true] {
        let mut disk = Disk::new();
        disk.put("a", &[1; 512]);
        if distrusted {
            disk.distrust_reserved();
        }
        let sim = SimDisk::new(disk);
        let file = sim.open("a", Access::Write).unwrap();
        file.allocate(512, 512).unwrap();
        file.sync().unwrap();
        let durable = || sim.disk().after_power_loss(&[]).contents("a").unwrap()[512];
        file.write_at(&[7; 512], 512).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(), if distrusted { 0 } else { 7 });
        file.write_at(&[8; 512], 512).unwrap();
        file.sync().unwrap();
        assert_eq!(durable(), 8, "written before, so no longer only reserved");
    }
}

/// A file that was cut and has grown again, and a failed sync that forgot both: its size is any of the three until the
/// pages at its end are written once more.
#[test]
fn pages_written_again_bring_the_size_with_them() {
    let mut disk = Disk::new();
    disk.put("a", &[1; 300]);
    let sim = SimDisk::new(disk);
    let file = sim.open("a", Access::Write).unwrap();
    file.set_len(100).unwrap();
    file.write_at(&[2; 100], 100).unwrap();
    sim.fail(Fault { call: Call::Sync, nth: 1, for_good: false, outcome: Outcome::Forget(5) });
    file.sync().unwrap_err();
    let durable = || sim.disk().after_power_loss(&[]).contents("a").unwrap().len();
    file.sync().unwrap();
    assert_eq!(durable(), 300, "the next sync says yes and has nothing to do");
    file.write_at(&[2; 100], 100).unwrap();
    file.sync().unwrap();
    assert_eq!(durable(), 200);
}
