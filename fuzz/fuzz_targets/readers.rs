//! Any bytes as a segment: positioned and mapped reading find the same.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::readers::body(bytes));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    wal_fuzz::mutate::entries(data, size, size_max, seed, 2, &mut libfuzzer_sys::fuzzer_mutate)
});
