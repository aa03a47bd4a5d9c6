//! Any bytes as lines of NDJSON: refused, or the same after import, dump and import.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::import(bytes));
