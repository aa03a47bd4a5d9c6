//! The bodies of the fuzz targets on thousands of inputs from a fixed seed, so that every test run covers them.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap here is a failed test")]

use wal_format::{EntryKind, frame_payload, fuzzing};

/// A small generator (xorshift): the same inputs on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Bytes of which many are small, as lengths, kinds and high halves of numbers are.
    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let small = self.byte() | 3;
        (0..self.below(len_max))
            .map(|_| if self.byte() < 100 { self.byte() } else { self.byte() % small % 8 })
            .collect()
    }

    /// Some whole entries, perhaps with a flipped bit.
    fn log(&mut self) -> Vec<u8> {
        let mut log = Vec::new();
        for _ in 0..self.below(6) {
            let kind = EntryKind::ALL[self.below(3)];
            let payload = self.bytes(80);
            frame_payload(kind, self.byte(), &payload, &mut log).unwrap();
        }
        if self.byte() < 128 && !log.is_empty() {
            let at = self.below(log.len());
            log[at] ^= 1 << self.below(8);
        }
        log
    }
}

#[test]
fn no_promise_is_broken_on_seeded_inputs() {
    let mut random = Random(0x5eed_0000_cafe_f00d);
    for round in 0..20_000 {
        let before = random.0;
        let result = std::panic::catch_unwind(|| {
            let mut random = Random(before);
            let bytes = random.bytes(200);
            fuzzing::scan(&bytes);
            fuzzing::series(&bytes);
            fuzzing::samples(&bytes);
            fuzzing::deletes(&bytes);
            fuzzing::round_trip(&bytes);
            fuzzing::resync(&bytes);
            let log = random.log();
            fuzzing::scan(&log);
            fuzzing::resync(&log);
            random.0
        });
        random.0 = result.unwrap_or_else(|_| panic!("round {round} failed; the seed is {before:#x}"));
    }
}
