//! Bytes that decode: encoded again they decode to the same items.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::round_trip(bytes));
