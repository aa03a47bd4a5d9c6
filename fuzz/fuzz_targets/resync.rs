//! Any bytes: the linear search for the next entry finds what the naive one finds.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::resync(bytes));
