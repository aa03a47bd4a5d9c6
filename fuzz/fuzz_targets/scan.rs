//! Any bytes as the entries of a segment: the scanner ends, and says where and why.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::scan(bytes));
