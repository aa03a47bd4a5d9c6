//! Any bytes as a samples payload: both decoders agree, or refuse alike.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::samples(bytes));
