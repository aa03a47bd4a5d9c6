//! Runs the body of every fuzz target over the files of the directories given, and over changed copies of small ones.
//!
//! It needs no fuzzer and no nightly compiler, so CI runs it on every change.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wal_format::fuzzing;

type Body = fn(&[u8]);

const BODIES: [(&str, Body); 6] = [
    ("scan", fuzzing::scan),
    ("series", fuzzing::series),
    ("samples", fuzzing::samples),
    ("deletes", fuzzing::deletes),
    ("round_trip", fuzzing::round_trip),
    ("resync", fuzzing::resync),
];

/// Larger files are run as they are: every change of every byte of them would take too long.
const CHANGED_BYTES_MAX: usize = 256;

fn main() -> ExitCode {
    let mut files = Vec::new();
    for dir in std::env::args_os().skip(1) {
        if let Err(e) = collect(Path::new(&dir), &mut files) {
            eprintln!("replay: {}: {e}", Path::new(&dir).display());
            return ExitCode::FAILURE;
        }
    }
    let (mut runs, mut failed) = (0u64, Vec::new());
    for file in &files {
        let seed = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(e) => {
                eprintln!("replay: {}: {e}", file.display());
                return ExitCode::FAILURE;
            }
        };
        for (name, body) in BODIES {
            // One report a target is enough; the panic itself has been printed by then.
            if failed.contains(&name) {
                continue;
            }
            if let Some(input) = first_failure(body, &seed, &mut runs) {
                eprintln!("replay: {name} panics on {} changed to {input:02x?}", file.display());
                failed.push(name);
            }
        }
    }
    println!("    {runs} runs over {} files; bodies that panicked: {failed:?}", files.len());
    // Nothing read is nothing checked.
    if failed.is_empty() && 0 < runs { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seed itself, then cut at every length, then with every byte changed in three ways.
fn first_failure(body: Body, seed: &[u8], runs: &mut u64) -> Option<Vec<u8>> {
    let mut fails = |input: &[u8]| {
        *runs += 1;
        catch_unwind(|| body(input)).is_err().then(|| input.to_vec())
    };
    if let Some(input) = fails(seed) {
        return Some(input);
    }
    if CHANGED_BYTES_MAX < seed.len() {
        return None;
    }
    let cut = (0..seed.len()).find_map(|length| fails(&seed[..length]));
    cut.or_else(|| {
        let mut copy = seed.to_vec();
        for at in 0..copy.len() {
            for change in [0x01, 0x80, 0xff] {
                copy[at] ^= change;
                let failed = fails(&copy);
                copy[at] ^= change;
                if failed.is_some() {
                    return failed;
                }
            }
        }
        None
    })
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
