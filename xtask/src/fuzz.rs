//! `cargo xtask fuzz`: a replay of the targets' bodies without any fuzzer, and runs with cargo-fuzz.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fuzz_run::{self, Goal, Plan};
use crate::{Outcome, Repo, cmd};

/// What `fuzz smoke` gives each target: so many executions or so long, whichever comes first.
const SMOKE: Goal = Goal { executions: 2_000_000, time: Duration::from_secs(120) };
/// What `fuzz long` gives each target unless it is told otherwise.
const LONG: Goal = Goal { executions: 1_000_000_000, time: Duration::from_secs(365 * 24 * 3600) };
/// The target with a planted bug, which has to fail.
const CANARY: &str = "canary";
/// The target that reaches unsafe code of ours, the reader through a mapping. It alone is built with the address
/// sanitizer, which looks for what safe code cannot do, and is slow to build and to run.
const UNSAFE: &str = "readers";
/// The targets of `fuzz long` unless some are named: what every byte of a log goes through.
const DECODERS: [&str; 4] = ["scan", "series", "samples", "deletes"];

/// As cargo-fuzz calls them.
const NO_SANITIZER: &str = "none";
const ADDRESS_SANITIZER: &str = "address";

const USAGE: &str = "fuzz list | check | replay | smoke [--seconds N] [TARGET...] | long [--seconds N] [--runs N] [TARGET...] \
                     | TARGET [libfuzzer options, or files to run]";

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let targets = targets(repo)?;
    let Some((first, options)) = args.split_first() else {
        return Err(format!("{USAGE}; targets: {}", targets.join(" ")));
    };
    match first.as_str() {
        "list" => {
            targets.iter().for_each(|target| println!("{target}"));
            Ok(())
        }
        "check" => check(repo),
        "replay" => replay(repo),
        "smoke" => fuzz_for(repo, options, &targets, SMOKE, &targets),
        "long" => fuzz_for(repo, options, &targets, LONG, &DECODERS.map(str::to_owned)),
        target if targets.iter().any(|known| known == target) => one(repo, target, options),
        other => Err(format!("no fuzz target `{other}`; there are: {}", targets.join(" "))),
    }
}

/// The targets compile, with the stable compiler and without the C++ part of the fuzzer.
pub(crate) fn check(repo: &Repo) -> Outcome {
    let mut command = cmd::cargo(&repo.root.join("fuzz"));
    command.args(["check", "--quiet", "--locked", "--no-default-features", "--bins", "--examples"]);
    cmd::run(own_target(repo, &mut command).env("RUSTFLAGS", "-Dwarnings"))
}

/// What the mutators promise, and the bodies of all targets over the seeds, changed copies of them, the inputs
/// that were findings once, and whatever earlier fuzzing left here.
pub(crate) fn replay(repo: &Repo) -> Outcome {
    let mut tests = on_stable(repo, "test");
    cmd::run(own_target(repo, tests.arg("--lib")))?;
    let mut command = on_stable(repo, "run");
    command.args(["--example", "replay", "--"]).arg(data(repo)).arg(repo.root.join("fuzz"));
    cmd::run(own_target(repo, &mut command))
}

/// The targets named, or these, two at a time, until the goal unless the options have another. The canary must not
/// survive that.
fn fuzz_for(repo: &Repo, options: &[String], known: &[String], goal: Goal, unnamed: &[String]) -> Outcome {
    let (goal, named) = limits(options, goal)?;
    let wanted = if named.is_empty() { unnamed.to_vec() } else { chosen(&named, known)? };
    build(repo, &wanted)?;
    fuzz_run::all(&plans(repo, &wanted, goal))
}

/// The goal with the limits among the words behind `smoke` or `long`, and the other words.
fn limits(options: &[String], mut goal: Goal) -> Result<(Goal, Vec<String>), String> {
    let mut named = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            named.push(word.clone());
            continue;
        }
        let number = words.next().and_then(|text| text.parse::<u64>().ok()).filter(|number| 0 < *number);
        match (word.as_str(), number) {
            ("--seconds", Some(seconds)) => goal.time = Duration::from_secs(seconds),
            ("--runs", Some(runs)) => goal.executions = runs,
            ("--seconds" | "--runs", None) => return Err(format!("{word} needs a number")),
            _ => return Err(format!("no option `{word}`; {USAGE}")),
        }
    }
    Ok((goal, named))
}

/// One target with the options given, its output here, until it is stopped or finds something.
fn one(repo: &Repo, target: &str, options: &[String]) -> Outcome {
    let targets = [target.to_owned()];
    build(repo, &targets)?;
    let plan = plans(repo, &targets, LONG).remove(0);
    // The command runs in `fuzz/`, and files are named from here.
    let here = |option: &String| match Path::new(option).canonicalize() {
        Ok(path) => path.into_os_string(),
        Err(_) => option.into(),
    };
    let given: Vec<_> = options.iter().map(here).collect();
    let only_files = options.iter().any(|option| Path::new(option).is_file());
    fuzz_run::in_the_foreground(&plan, &given, only_files)
}

/// Builds the targets with the fuzzer in them, and writes the seeds of each into its corpus.
fn build(repo: &Repo, wanted: &[String]) -> Outcome {
    // Asked through cargo, which also looks where it installs programs.
    cmd::output(cmd::cargo(&repo.root).args(["fuzz", "--version"]))
        .map_err(|why| format!("{why}; install it: cargo install --locked cargo-fuzz"))?;
    cmd::need("c++", "--version", "apt-get install g++")?;
    let host = host()?;
    let is_unsafe = |target: &String| target == UNSAFE;
    let build = |sanitizer: &str, targets: &[&str]| {
        let mut command = cmd::cargo(&repo.root);
        command.args(["fuzz", "build", "--target", &host, "--sanitizer", sanitizer]).args(targets);
        command.env("CARGO_TARGET_DIR", built(repo, sanitizer));
        // The counters of the fuzzer are a compiler switch that stable has, but keeps locked.
        cmd::run(command.env("RUSTC_BOOTSTRAP", "1"))
    };
    if !wanted.iter().all(is_unsafe) {
        build(NO_SANITIZER, &[])?;
    }
    if wanted.iter().any(is_unsafe) {
        build(ADDRESS_SANITIZER, &[UNSAFE])?;
    }
    let mut seeds = on_stable(repo, "run");
    seeds.args(["--example", "seeds", "--"]).arg(data(repo)).arg(repo.root.join("fuzz/corpus"));
    cmd::run(own_target(repo, &mut seeds))
}

/// What is to be run for each target. The slowest first, so that none of them is left running alone.
fn plans(repo: &Repo, targets: &[String], goal: Goal) -> Vec<Plan> {
    let slowest = ["directory", "operations", "readers"];
    let mut ordered: Vec<&String> = targets.iter().collect();
    ordered.sort_by_key(|target| slowest.iter().position(|slow| slow == target).unwrap_or(slowest.len()));
    let host = host().unwrap_or_default();
    let sanitizer = |target: &str| if target == UNSAFE { ADDRESS_SANITIZER } else { NO_SANITIZER };
    let plan = |target: &String| Plan {
        target: target.clone(),
        program: built(repo, sanitizer(target)).join(&host).join("release").join(target),
        sanitized: target == UNSAFE,
        fuzz: repo.root.join("fuzz"),
        scratch: repo.target.join("fuzz-runs").join(target),
        goal,
        must_fail: target == CANARY,
    };
    ordered.into_iter().map(plan).collect()
}

/// Where what is built with this sanitizer lies: other switches for the compiler, so nothing to share.
fn built(repo: &Repo, sanitizer: &str) -> PathBuf {
    match sanitizer {
        NO_SANITIZER => repo.target.join("fuzz"),
        other => repo.target.join(format!("fuzz-{other}")),
    }
}

/// The targets named, or all.
fn chosen(named: &[String], targets: &[String]) -> Result<Vec<String>, String> {
    if let Some(unknown) = named.iter().find(|name| !targets.contains(name)) {
        return Err(format!("no fuzz target `{unknown}`; there are: {}", targets.join(" ")));
    }
    Ok(if named.is_empty() { targets.to_vec() } else { named.to_vec() })
}

/// A command of cargo in `fuzz/` that needs neither the fuzzer nor another compiler.
fn on_stable(repo: &Repo, verb: &str) -> std::process::Command {
    let mut command = cmd::cargo(&repo.root.join("fuzz"));
    command.args([verb, "--quiet", "--release", "--locked", "--no-default-features"]);
    command
}

/// A workspace of its own, so a place of its own: it must not push out what the others have built.
fn own_target<'a>(repo: &Repo, command: &'a mut std::process::Command) -> &'a mut std::process::Command {
    command.env("CARGO_TARGET_DIR", repo.target.join("fuzz"))
}

/// The directory of golden logs.
fn data(repo: &Repo) -> PathBuf {
    repo.root.join("crates/wal-engine/tests/data")
}

/// The platform that we run on, as the compiler calls it.
fn host() -> Result<String, String> {
    let said = cmd::output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn limits_of_a_run_are_read_and_others_refused() {
        let (goal, named) = limits(&words("--runs 5 scan --seconds 7 samples"), LONG).unwrap();
        assert_eq!((goal.executions, goal.time.as_secs()), (5, 7));
        assert_eq!(named, ["scan", "samples"]);
        let (goal, _) = limits(&words("--seconds 7"), SMOKE).unwrap();
        assert_eq!((goal.executions, goal.time.as_secs()), (2_000_000, 7));
        assert_eq!(limits(&[], LONG).unwrap().0.executions, 1_000_000_000);
        for bad in ["--runs", "--runs none", "--runs 0", "--hours 3"] {
            assert!(limits(&words(bad), SMOKE).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_target_is_refused_and_none_means_all() {
        let targets = words("a b");
        assert_eq!(chosen(&[], &targets).unwrap(), targets);
        assert!(chosen(&words("a c"), &targets).unwrap_err().contains("`c`"));
    }
}
