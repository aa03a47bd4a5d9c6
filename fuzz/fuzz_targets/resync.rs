//! Any bytes: the linear search for the next entry finds what the naive one finds.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wal_format::fuzzing::resync(bytes));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    wal_fuzz::mutate::entries(data, size, size_max, seed, 1, &mut libfuzzer_sys::fuzzer_mutate)
});
