//! Any bytes as the file of the mark or the intent: read or refused, and written again.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_fuzz::control::body(bytes));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    wal_fuzz::mutate::control(data, size, size_max, seed, &mut libfuzzer_sys::fuzzer_mutate)
});
