//! Any bytes as the files of a log directory: every recovery mode keeps the promises.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::directory::body(bytes));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    wal_fuzz::mutate::directory(data, size, size_max, seed, &mut libfuzzer_sys::fuzzer_mutate)
});
