//! `replay DATA FUZZ`: runs the body of every fuzz target over its seeds from the golden logs below DATA, over
//! changed copies of small ones, and over what lies in FUZZ/regressions, FUZZ/corpus and FUZZ/artifacts.
//!
//! It needs no fuzzer and no nightly compiler, so CI runs it on every change.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wal_fuzz::{BODIES, Body, canary, seeds};

/// Larger inputs are run as they are: every change of every byte of them would take too long.
const CHANGED_BYTES_MAX: usize = 256;
/// Opening a log, or a file, takes a thousand times as long as decoding, so fewer changes are tried there.
const SLOW: [&str; 3] = ["directory", "operations", "readers"];

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [data, fuzz] = &args[..] else {
        eprintln!("replay: give the directory of the golden logs and that of the fuzz targets");
        return ExitCode::FAILURE;
    };
    let mut failed = Vec::new();
    for (name, body) in BODIES {
        match replay(name, body, data, fuzz) {
            Ok(told) => println!("    {name:<11} {told}"),
            Err(why) => {
                eprintln!("replay: {name}: {why}");
                failed.push(name);
            }
        }
    }
    // A seed that is the planted bug would make the canary sing without any fuzzing.
    if let Err(why) = replay("canary", canary::body, data, fuzz) {
        eprintln!("replay: canary: {why}");
        failed.push("canary");
    }
    println!("    bodies that failed: {failed:?}");
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(name: &str, body: Body, data: &Path, fuzz: &Path) -> Result<String, String> {
    let seeds = seeds::of(name, data).map_err(|error| format!("{}: {error}", data.display()))?;
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    inputs.extend(seeds.into_iter().map(|seed| ("a seed".to_owned(), seed)));
    for kept in ["regressions", "corpus", "artifacts"] {
        collect(&fuzz.join(kept).join(name), &mut inputs)?;
    }
    let mut runs = 0;
    for (from, input) in &inputs {
        if let Some(input) = first_failure(name, body, input, &mut runs) {
            return Err(format!("panics on {from} changed to {}", hex(&input)));
        }
    }
    // Nothing read is nothing checked.
    if runs == 0 {
        Err("has no input".to_owned())
    } else {
        Ok(format!("{runs} runs, {} inputs", inputs.len()))
    }
}

/// The input itself, then cut at every length, then with every byte changed in three ways.
fn first_failure(name: &str, body: Body, input: &[u8], runs: &mut u64) -> Option<Vec<u8>> {
    let mut fails = |input: &[u8]| {
        *runs += 1;
        catch_unwind(|| body(input)).is_err().then(|| input.to_vec())
    };
    if let Some(input) = fails(input) {
        return Some(input);
    }
    if CHANGED_BYTES_MAX < input.len() {
        return None;
    }
    let slow = SLOW.contains(&name);
    let cut = (0..input.len()).step_by(if slow { 5 } else { 1 }).find_map(|length| fails(&input[..length]));
    cut.or_else(|| {
        let mut copy = input.to_vec();
        for at in 0..copy.len() {
            let changes: &[u8] = if slow { &[[0x01, 0x80, 0xff][at % 3]] } else { &[0x01, 0x80, 0xff] };
            for change in changes {
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

fn collect(dir: &Path, inputs: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    if !dir.is_dir() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let entries: Result<Vec<_>, _> = dir.read_dir().map_err(failed)?.collect();
    let mut paths: Vec<PathBuf> = entries.map_err(failed)?.iter().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        inputs.push((path.display().to_string(), bytes));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
