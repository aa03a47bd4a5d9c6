//! `cargo xtask fuzz`: seeds from the golden logs, a replay of them without any fuzzer, and runs with cargo-fuzz.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{Outcome, Repo, cmd};

/// Seconds for each target of `fuzz smoke`.
const SMOKE_SECONDS: &str = "20";

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let targets = targets(repo)?;
    let Some((first, options)) = args.split_first() else {
        return Err(format!("fuzz list | check | replay | smoke | TARGET; targets: {}", targets.join(" ")));
    };
    match first.as_str() {
        "list" => {
            targets.iter().for_each(|target| println!("{target}"));
            Ok(())
        }
        "check" => check(repo),
        "replay" => replay(repo),
        "smoke" => {
            let limit = [format!("-max_total_time={SMOKE_SECONDS}")];
            targets.iter().try_for_each(|target| fuzz(repo, target, &limit))
        }
        target if targets.iter().any(|known| known == target) => fuzz(repo, target, options),
        other => Err(format!("no fuzz target `{other}`; there are: {}", targets.join(" "))),
    }
}

/// The targets compile, with the stable compiler and without the C++ part of the fuzzer.
pub(crate) fn check(repo: &Repo) -> Outcome {
    let mut command = cmd::cargo(&repo.root.join("fuzz"));
    command.args(["check", "--quiet", "--locked", "--no-default-features", "--bins", "--examples"]);
    cmd::run(own_target(repo, &mut command).env("RUSTFLAGS", "-Dwarnings"))
}

/// The bodies of all targets over the seeds, changed copies of them, and whatever earlier fuzzing left here.
pub(crate) fn replay(repo: &Repo) -> Outcome {
    let seeds = repo.target.join("fuzz-seeds");
    let count = write_seeds(repo, &seeds)?;
    println!("    {count} seeds from the golden logs");
    let mut command = cmd::cargo(&repo.root.join("fuzz"));
    command.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--no-default-features",
        "--example",
        "replay",
        "--",
    ]);
    command.arg(&seeds);
    for kept in ["corpus", "artifacts"] {
        let dir = repo.root.join("fuzz").join(kept);
        if dir.is_dir() {
            command.arg(dir);
        }
    }
    cmd::run(own_target(repo, &mut command))
}

fn fuzz(repo: &Repo, target: &str, options: &[String]) -> Outcome {
    cmd::need("cargo-fuzz", "--version", "cargo install --locked cargo-fuzz")?;
    cmd::need("c++", "--version", "apt-get install g++")?;
    let corpus = repo.root.join("fuzz/corpus").join(target);
    write_seeds(repo, &corpus)?;
    let mut command = cmd::cargo(&repo.root);
    command.args(["fuzz", "run", target, "--"]).args(options);
    // The sanitizer is a compiler switch that stable has, but keeps locked.
    cmd::run(own_target(repo, &mut command).env("RUSTC_BOOTSTRAP", "1"))
}

/// A workspace of its own, so a place of its own: it must not push out what the others have built.
fn own_target<'a>(repo: &Repo, command: &'a mut std::process::Command) -> &'a mut std::process::Command {
    command.env("CARGO_TARGET_DIR", repo.target.join("fuzz"))
}

/// The files of `fuzz/fuzz_targets`, by name.
fn targets(repo: &Repo) -> Result<Vec<String>, String> {
    let dir = repo.root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let names = entries
        .flatten()
        .filter_map(|entry| entry.path().file_stem().map(|s| s.to_string_lossy().into_owned()));
    Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Writes each golden segment, and each payload in one, as a file named by its contents; says how many.
fn write_seeds(repo: &Repo, to: &Path) -> Result<usize, String> {
    std::fs::create_dir_all(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut seeds = BTreeSet::new();
    for dir in repo.cases("golden")?.iter().chain(&repo.cases("real")?) {
        let mut files: Vec<PathBuf> = Vec::new();
        let log = dir.join("wal");
        for entry in std::fs::read_dir(&log).map_err(|e| format!("{}: {e}", log.display()))? {
            files.push(entry.map_err(|e| format!("{}: {e}", log.display()))?.path());
        }
        for file in files {
            let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            seeds.extend(
                payloads(&bytes).into_iter().filter(|seed| seed.len() <= SEED_BYTES_MAX).map(<[u8]>::to_vec),
            );
            // Bodies see what follows the header, from an entry boundary on.
            let entries = bytes.get(HEADER_BYTES..).unwrap_or(&bytes);
            seeds.insert(entries[..entries.len().min(SEED_BYTES_MAX)].to_vec());
        }
    }
    for seed in &seeds {
        let path = to.join(format!("golden-{:016x}", fnv(seed)));
        std::fs::write(&path, seed).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(seeds.len())
}

/// The payloads of a segment, found by their lengths alone; whatever does not fit ends the list.
fn payloads(segment: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(head) = segment.get(at..at + 6) {
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let Some(payload) = usize::try_from(length)
            .ok()
            .and_then(|length| segment.get(at + 6..(at + 6).checked_add(length)?))
        else {
            break;
        };
        if head[0] == 0 {
            break;
        }
        found.push(payload);
        at += payload.len() + 10;
    }
    found
}

/// FNV-1a, for names only.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const HEADER_BYTES: usize = 8;
/// Longer seeds only slow the fuzzer down.
const SEED_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_found_by_their_lengths_up_to_the_end_mark() {
        let mut segment = vec![0; HEADER_BYTES];
        segment.extend([2, 1, 0, 0, 0, 3, b'a', b'b', b'c', 9, 9, 9, 9]);
        segment.extend([3, 1, 0, 0, 0, 0, 9, 9, 9, 9]);
        segment.extend([0; 32]);
        assert_eq!(payloads(&segment), [&b"abc"[..], b""]);
    }

    #[test]
    fn a_length_past_the_end_ends_the_list() {
        let mut segment = vec![0; HEADER_BYTES];
        segment.extend([2, 1, 255, 255, 255, 255, 1, 2, 3]);
        assert!(payloads(&segment).is_empty());
    }
}
