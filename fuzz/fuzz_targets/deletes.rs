//! Any bytes as a deletes payload: both decoders agree, or refuse alike.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::deletes(bytes));
