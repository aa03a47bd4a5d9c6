//! A planted bug that must be found: the one target that has to fail.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::canary::body(bytes));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    wal_fuzz::mutate::entries(data, size, size_max, seed, 0, &mut libfuzzer_sys::fuzzer_mutate)
});
