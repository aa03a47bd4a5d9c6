//! Any bytes as a history with power loss in it: what was acknowledged comes back.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::operations::body(bytes));
