//! The real storage refuses what is no regular file, and neither follows it nor waits for it.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind::InvalidInput;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use wal_segment::{Access, Modes, OsStorage, Storage};

#[test]
fn what_is_no_regular_file_is_refused_as_such_however_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), b"bytes").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    symlink(path("file"), path("link")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let listener = UnixListener::bind(path("socket")).unwrap();
    let storage = OsStorage::new(dir.path(), Modes::default());
    for access in [Access::Read, Access::Write] {
        assert_eq!(storage.open("file", access).unwrap().len().unwrap(), 5);
        for name in ["folder", "link", "fifo", "socket"] {
            let error = storage.open(name, access).unwrap_err();
            assert_eq!(error.kind(), InvalidInput, "{name} {access:?}: {error}");
        }
    }
    drop(listener);
}
