//! The body of the target `control`: the files of the mark and the intent, read from any bytes.

use std::sync::Arc;

use wal_engine::intent::{self, INTENT_FILE, IntentFile, STEPS_MAX};
use wal_engine::mark::{self, MARK_FILE, Mark, MarkFile};
use wal_segment::{Access, Folder, Storage};
use wal_sim::{Disk, SimDisk};

/// The first byte says which file the others are. Reading never panics; what is read comes back when it is
/// written; a value written over any bytes counts from then on.
pub fn body(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    if which % 2 == 0 { mark_file(bytes) } else { intent_file(bytes) }
}

fn mark_file(bytes: &[u8]) {
    let disk = disk_with(MARK_FILE, bytes);
    let read = mark::load(&*disk).unwrap_or_else(|e| panic!("a disk that works fails: {e}")).0;
    assert_eq!(read, Mark::newest(&bytes[..bytes.len().min(1024)]));
    let Some(old) = read else { return };
    // A life of the log begins with both slots, as recovery does; each write is the newest then.
    let Ok(mut file) = MarkFile::open(&*disk, old.counter, old.floor) else { panic!("cannot open the mark") };
    for round in 0..3 {
        let witnesses = old.witnesses.clone();
        let wrote = match round {
            0 => file.write_both(old.position, witnesses),
            _ => file.write(old.position, witnesses),
        };
        wrote.unwrap_or_else(|e| panic!("a disk that works fails: {e}"));
        let now = mark::load(&*disk).ok().and_then(|(mark, _)| mark);
        let Some(now) = now else { panic!("what was written does not read") };
        assert_eq!(file.last(), Some(&now), "not the newest");
        assert_eq!((now.position, now.floor, &now.witnesses), (old.position, old.floor, &old.witnesses));
    }
}

fn intent_file(bytes: &[u8]) {
    let disk = disk_with(INTENT_FILE, bytes);
    let load = || intent::load(&*disk).unwrap_or_else(|e| panic!("a disk that works fails: {e}"));
    let steps = load();
    assert!(steps.len() <= STEPS_MAX);
    if let Some(read) = intent::decode(bytes) {
        assert_eq!(read, steps);
        assert_eq!(intent::decode(&intent::encode(&read)), Some(read));
    }
    let Ok(file) = IntentFile::open(&*disk) else { panic!("cannot open the intent") };
    assert!(file.write(&steps).is_ok() && load() == steps);
    assert!(file.clear().is_ok() && load().is_empty());
}

fn disk_with(name: &str, bytes: &[u8]) -> Arc<dyn Storage> {
    let sim = SimDisk::new(Disk::new());
    let made = sim.create_log_folder().and_then(|_| sim.create_new(name)).and_then(|_| {
        let file = sim.open(name, Access::Write)?;
        file.write_at(bytes, 0)?;
        sim.sync_folder(Folder::Log)
    });
    made.unwrap_or_else(|error| panic!("the simulated disk refused a file: {error}"));
    Arc::new(sim)
}
