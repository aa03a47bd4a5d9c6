//! One writer: the second one is told who the first is. Alone in its process: a test that starts a child at
//! the moment when the log is closed would hold a copy of the lock for it.

mod common;

use common::{golden, run, run_with_input};
use wal_engine::{Wal, WalOptions};

#[test]
fn a_second_writer_is_told_who_the_first_one_is() {
    let case = golden("03-one-series");
    let (held, _) = Wal::open(case.log.path(), WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    let this = std::process::id().to_string();
    let name = case.log.path().to_str().unwrap();
    run_with_input("import", case.log.path(), &[], b"").expect(3, &[name, &this, "next: "]);
    run("repair", case.log.path(), &["--apply"]).expect(3, &[&this]);
    run("truncate", case.log.path(), &["--mint", "0", "--keep-all"]).expect(3, &[&this]);
    // Readers are not disturbed.
    run("dump", case.log.path(), &[]).expect(0, &[]);
    let verified = run("verify", case.log.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(verified["live"], true);
    held.close().unwrap();
    let verified = run("verify", case.log.path(), &["--json"]).expect(0, &[]).json();
    assert_eq!(verified["live"], false);
}
