//! What the fuzz targets run: one body a target, the mutators that know the format, and the seeds.
//!
//! Bodies that need one crate only live in that crate's `fuzzing` module; those that need several live here.
//! Nothing in this library needs the fuzzer, so that all of it runs on stable in `examples/replay.rs`.

pub mod canary;
#[path = "../../crates/wal-sim/tests/common/mod.rs"]
mod common;
pub mod control;
pub mod directory;
pub mod edit;
pub mod files;
pub mod frames;
pub mod mutate;
pub mod operations;
pub mod readers;
pub mod seeds;

/// A body: takes any bytes, and panics where a promise does not hold.
pub type Body = fn(&[u8]);

/// Every target that must find nothing, with its body. The name is that of the file in `fuzz_targets`.
pub const BODIES: [(&str, Body); 11] = [
    ("scan", wal_format::fuzzing::scan),
    ("series", wal_format::fuzzing::series),
    ("samples", wal_format::fuzzing::samples),
    ("deletes", wal_format::fuzzing::deletes),
    ("round_trip", wal_format::fuzzing::round_trip),
    ("resync", wal_format::fuzzing::resync),
    ("readers", readers::body),
    ("control", control::body),
    ("directory", directory::body),
    ("operations", operations::body),
    ("import", import),
];

/// The body of the target `import`; how many lines were entries matters to tests only.
pub fn import(data: &[u8]) {
    let _ = wal_cli::fuzzing::import(data);
}
