//! The body of the target `operations`: a history of a log, drawn from bytes, with power loss in it.

use wal_engine::{Preallocation, RecoveryMode, WalOptions};
use wal_sim::{Defect, Pick, Unit};

use crate::common::entry::Entry;
use crate::common::history::Op;
use crate::common::kept::kept_what_it_cut;
use crate::common::run::{Moment, Run};

/// The first byte chooses the settings, every later one says what is done. After each crash the oracle of the
/// simulated disk judges what comes back; what recovery cut must be in quarantine.
pub fn body(data: &[u8]) {
    let Some((settings, rest)) = data.split_first() else { return };
    let mut bytes = Bytes(rest);
    let options = options(*settings);
    let mut run = begin(Moment::default(), &options);
    expect("open", run.open());
    let mut id = 0;
    let mut crashes = 0;
    for _ in 0..OPS_MAX {
        let Some(byte) = bytes.next() else { break };
        let (op, detail) = (byte % 16, byte / 16);
        match op {
            0..=7 => {
                id += 1;
                let count = [1, 2, 9, 55, 140][usize::from(detail % 5)];
                let entry = match op {
                    0 | 1 => Entry::Series { id, kept: 3 },
                    2 => Entry::Deletes { id },
                    _ => Entry::Samples { id, count },
                };
                expect("append", run.step(Op::Append(entry)));
            }
            8..=10 => expect("commit", run.step(Op::Commit)),
            11 => {
                // The oracle knows which segments are sealed only when everything is in them.
                expect("commit", run.step(Op::Commit));
                let mint = (id + 1).saturating_sub(u32::from(detail));
                expect("truncate", run.step(Op::Truncate(mint)));
            }
            12 => expect("reopen", run.step(Op::Reopen)),
            13 => expect("kill", run.kill_and_open()),
            _ if CRASHES_MAX == crashes => {}
            _ => {
                crashes += 1;
                let moments = run.take_moments();
                let back = usize::from(bytes.next().unwrap_or(0)) % moments.len();
                let Some(Moment { disk, promise }) = moments.into_iter().rev().nth(back) else { break };
                let picks: Vec<Pick> =
                    disk.units().iter().map(|unit| pick(unit, &mut bytes, detail)).collect();
                let left = disk.after_power_loss(&picks);
                run = begin(Moment { disk: left.clone(), promise }, &options);
                // What is read must come back from then on, also when power fails within this recovery.
                expect("recovery", run.open_as_read());
                expect("quarantine", kept_what_it_cut(&left, &run.sim.disk().after_power_loss(&[])));
            }
        }
    }
    expect("last reopening", run.step(Op::Reopen));
}

/// What becomes of a pending change. When the bytes are used up, all the others fare alike.
fn pick(unit: &Unit, bytes: &mut Bytes<'_>, or: u8) -> Pick {
    let byte = bytes.next().unwrap_or(or);
    let states = unit.states.max(1);
    match byte % (states + u8::from(unit.garbage)) {
        state if state < states => Pick::State(state),
        _ => Pick::Garbage,
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn begin(from: Moment, options: &WalOptions) -> Run {
    let run = Run::new(from, options, Defect::None);
    run.record();
    run
}

fn expect(what: &str, done: Result<(), String>) {
    done.unwrap_or_else(|why| panic!("{what}: {why}"));
}

fn options(settings: u8) -> WalOptions {
    let preallocation = [Preallocation::None, Preallocation::ZeroFill, Preallocation::Fallocate];
    let modes = [RecoveryMode::PointInTime, RecoveryMode::TolerateTornTail];
    WalOptions::default()
        .background_thread(false)
        .replay_threads(1)
        .segment_bytes_max([256, 512, 1024, 8192][usize::from(settings % 4)])
        .buffer_bytes(4096)
        .window_bytes(4096)
        .preallocation(preallocation[usize::from(settings / 4 % 3)])
        .recovery_mode(modes[usize::from(settings / 16 % 2)])
}

const OPS_MAX: usize = 40;
const CRASHES_MAX: u32 = 4;
