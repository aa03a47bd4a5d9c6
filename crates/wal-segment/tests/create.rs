//! How the log directory comes into being.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use wal_segment::{Modes, OsStorage, Storage};

#[test]
fn directories_missing_above_the_log_are_made_with_its_permissions() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("a/b/log");
    let storage = OsStorage::new(&log, Modes { dir: 0o700, ..Modes::default() });
    assert!(storage.create_log_folder().unwrap());
    assert!(!storage.create_log_folder().unwrap());
    for dir in ["a", "a/b", "a/b/log"] {
        let mode = fs::metadata(home.path().join(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{dir}");
    }
}

#[test]
fn a_file_above_the_log_is_refused_and_stays() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("a");
    fs::write(&file, b"mine").unwrap();
    assert!(OsStorage::new(&file.join("log"), Modes::default()).create_log_folder().is_err());
    assert!(OsStorage::new(&file.join("b/log"), Modes::default()).create_log_folder().is_err());
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_link_that_leads_nowhere_is_refused_and_nothing_is_made_behind_it() {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), home.path().join("a")).unwrap();
    for dir in ["a", "a/log"] {
        assert!(OsStorage::new(&home.path().join(dir), Modes::default()).create_log_folder().is_err());
    }
    assert!(!home.path().join("elsewhere").exists());
}
