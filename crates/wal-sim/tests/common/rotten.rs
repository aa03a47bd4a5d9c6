//! A log with a flipped bit below its mark: repaired, gone on with, and then the power fails.

use std::sync::Arc;

use wal_engine::{Preallocation, ReplaySink, Sample, SeriesRef, Wal, WalOptions};
use wal_segment::{Access, Storage};
use wal_sim::defects::Broken;
use wal_sim::{Defect, Disk, SimDisk};

#[derive(Default)]
struct Times(Vec<i64>);

impl ReplaySink for Times {
    fn samples(&mut self, _: wal_engine::Position, batch: &[Sample]) {
        self.0.extend(batch.iter().map(|sample| sample.time_ms));
    }
}

/// Whether everything committed after the repair, and everything before the fault, is there when all
/// that was not synced is lost.
pub fn repair_survives(defect: Defect) -> Result<(), String> {
    let sim = SimDisk::new(Disk::new());
    log(&sim, Defect::None, 0..20)?;
    let file = sim.open("000001", Access::Write).map_err(|error| error.to_string())?;
    let mut byte = [0];
    file.read_at(&mut byte, 200).map_err(|error| error.to_string())?;
    file.write_at(&[byte[0] ^ 1], 200).map_err(|error| error.to_string())?;
    file.sync().map_err(|error| error.to_string())?;
    let kept = log(&sim, defect, 100..105)?;
    let lost = SimDisk::new(sim.disk().after_power_loss(&[]));
    let after = log(&lost, Defect::None, 0..0)?;
    match after == kept {
        true => Ok(()),
        false => Err(format!("repaired, gone on, power lost: {kept:?} were durable, {after:?} are there")),
    }
}

/// Opens the log, logs samples of these times and commits them. What the log then holds. Without a defect
/// it is closed, which makes its mark durable; with one the process dies.
fn log(sim: &SimDisk, defect: Defect, times: std::ops::Range<i64>) -> Result<Vec<i64>, String> {
    let storage = Arc::new(Broken::new(Arc::new(sim.clone()), defect));
    let options = WalOptions::default()
        .buffer_bytes(4096)
        .preallocation(Preallocation::None)
        .background_thread(false)
        .replay_threads(1);
    let mut held = Times::default();
    let recovery = Wal::open_storage(storage, options).map_err(|error| error.to_string())?;
    let (wal, _) = recovery.replay(&mut held).map_err(|error| error.to_string())?;
    for time_ms in times {
        let at = wal.log_samples(&[Sample { series_ref: SeriesRef(1), time_ms, value: 1.0 }]);
        wal.commit(at.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        held.0.push(time_ms);
    }
    if defect == Defect::None {
        wal.close().map_err(|error| error.to_string())?;
    }
    Ok(held.0)
}
