//! Any bytes as a series payload: decoded or refused, never a panic, never more memory than bytes.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::series(bytes));
