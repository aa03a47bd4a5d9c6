//! The repository checks itself: `cargo xtask ci` is what CI runs, and every step of it is a verb of its own.
#![allow(clippy::print_stdout, reason = "a tool for a terminal prints its results")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

mod bench;
mod bench_peers;
mod ci;
mod cmd;
mod commands;
mod coverage;
mod crash;
mod crash_home;
mod crash_inject;
mod crash_kill;
mod crash_kill_at;
mod crash_oracle;
mod crash_short;
mod crash_stage;
mod crash_strace;
mod crates;
mod disks;
mod disks_full;
mod disks_mount;
mod disks_ro;
mod events;
mod examples;
mod expectation;
mod fuzz;
mod fuzz_run;
mod golden;
mod http;
mod images;
mod images_disk;
mod images_lie;
mod interop;
mod layers;
mod links;
mod models;
mod msrv;
mod mutants;
mod ndjson;
mod prom;
mod release;
mod sim;
mod synthetic;
mod tables;
mod tidy;

/// What a step answers; the text says what failed, where, and what to do about it.
pub(crate) type Outcome = Result<(), String>;

/// One thing that the repository can check or run by itself.
struct Verb {
    pub(crate) name: &'static str,
    help: &'static str,
    run: fn(&Repo, &[String]) -> Outcome,
}

const VERBS: &[Verb] = &[
    Verb { name: "fmt", help: "formatting, checked", run: ci::fmt },
    Verb { name: "lint", help: "clippy on every target, warnings denied", run: ci::lint },
    Verb { name: "doc", help: "rustdoc of every crate, warnings denied", run: ci::doc },
    Verb { name: "layers", help: "which crate may depend on which", run: layers::run },
    Verb { name: "tidy", help: "conventions, documents tied to tests, links", run: tidy::run },
    Verb { name: "test", help: "unit, integration and documentation tests", run: ci::test },
    Verb { name: "golden", help: "the wal tool against logs written by the reference", run: golden::run },
    Verb { name: "interop", help: "a real Prometheus reads logs that we wrote", run: interop::run },
    Verb {
        name: "bench",
        help: "criterion benches and the table of goals; --smoke is quick; --peers [--dir DIR]: beside other logs",
        run: bench::run,
    },
    Verb {
        name: "fuzz",
        help: "list | check | replay | smoke | long | TARGET [libfuzzer options]",
        run: fuzz::run,
    },
    Verb {
        name: "crash",
        help: "the tool killed and refused system calls; [kills|errors] [--long] [--seed S]",
        run: crash::run,
    },
    Verb {
        name: "sim",
        help: "power loss on the simulated disk; [--long] [--states N] [--seed S] [--schedule FILE]",
        run: sim::run,
    },
    Verb {
        name: "disks",
        help: "the tool on small ext4, xfs and btrfs: full, over quota, read-only",
        run: disks::run,
    },
    Verb {
        name: "images",
        help: "crash images of real file systems; [--images N] [--fs ext4|xfs|btrfs] [--seed S] [--long]",
        run: images::run,
    },
    Verb {
        name: "models",
        help: "threads in every order, or in many; [loom|shuttle] [--long] [name of a model]",
        run: models::run,
    },
    Verb { name: "commands", help: "what documents tell to type exists", run: commands::run },
    Verb {
        name: "release",
        help: "--dry-run: order, versions, contents, changelog, licences, semver",
        run: release::run,
    },
    Verb { name: "examples", help: "every example runs and does what it says", run: examples::run },
    Verb { name: "crates", help: "each publishable crate builds alone", run: crates::run },
    Verb { name: "msrv", help: "what is published builds with the oldest Rust promised", run: msrv::run },
    Verb { name: "coverage", help: "branches of decoding and recovery that tests take", run: coverage::run },
    Verb {
        name: "mutants",
        help: "changed code must be noticed by a test; [--file F] [--again]",
        run: mutants::run,
    },
];

fn main() -> ExitCode {
    let is_help = |arg: &String| ["help", "--help", "-h"].contains(&arg.as_str());
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next().filter(|name| !is_help(name)) else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    let rest: Vec<String> = args.collect();
    let verb = VERBS.iter().find(|verb| verb.name == name);
    if let Some(verb) = verb.filter(|_| rest.first().is_some_and(is_help)) {
        println!("cargo xtask {}: {}", verb.name, verb.help);
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    match (Repo::find(), verb) {
        (Err(why), _) => tally.step("metadata", || Err(why)),
        (Ok(repo), Some(verb)) => tally.step(verb.name, || (verb.run)(&repo, &rest)),
        (Ok(repo), None) if name == "ci" => ci::steps(&repo, &mut tally),
        (Ok(_), None) => {
            eprintln!("xtask: no verb `{name}`");
            eprint!("{}", help());
            return ExitCode::from(2);
        }
    }
    tally.finish()
}

fn help() -> String {
    let mut text = String::from(
        "cargo xtask VERB\n\n  ci       what CI runs: all of the below but coverage and mutants, the long ones cut short\n",
    );
    for verb in VERBS {
        text += &format!("  {:<8} {}\n", verb.name, verb.help);
    }
    text
}

/// What `cargo metadata --no-deps` says about the workspace of a manifest in the repository.
pub(crate) fn metadata(root: &Path, manifest: &str) -> Result<serde_json::Value, String> {
    let mut ask = cmd::cargo(root);
    ask.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", manifest]);
    serde_json::from_str(&cmd::output(&mut ask)?).map_err(|e| format!("cargo metadata does not parse: {e}"))
}

/// Where the repository and its build output are.
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// What `cargo metadata --no-deps` says about the workspace.
    pub(crate) metadata: serde_json::Value,
}

impl Repo {
    fn find() -> Result<Repo, String> {
        // Asked at run time first: two checkouts that share their build output share this program as well.
        let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&own).parent().unwrap_or(Path::new(".")).to_path_buf();
        let metadata = metadata(&root, "Cargo.toml")?;
        let target =
            metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
        let target = PathBuf::from(target);
        Ok(Repo { root, target, metadata })
    }

    /// Directories with a `wal/` folder and an `expect.ndjson`, sorted by name.
    pub(crate) fn cases(&self, kind: &str) -> Result<Vec<PathBuf>, String> {
        let dir = self.root.join("crates/wal-engine/tests/data").join(kind);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
            let path = entry.map_err(|e| format!("{}: {e}", dir.display()))?.path();
            if path.join("expect.ndjson").is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Builds the `wal` tool and says where it is.
    pub(crate) fn wal_tool(&self) -> Result<PathBuf, String> {
        cmd::run(cmd::cargo(&self.root).args(["build", "--quiet", "--package", "wal-cli", "--bin", "wal"]))?;
        Ok(self.target.join("debug").join("wal"))
    }
}

/// Counts steps, times each one, and keeps what failed.
#[derive(Default)]
pub(crate) struct Tally {
    steps: Vec<(String, u128, Outcome)>,
}

impl Tally {
    /// Runs one step, printing its name before and its time after.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = work();
        let millis = start.elapsed().as_millis();
        match &outcome {
            Ok(()) => println!("==> {name}: ok in {}", seconds(millis)),
            Err(why) => println!("==> {name}: FAILED in {}\n{why}", seconds(millis)),
        }
        self.steps.push((name.to_owned(), millis, outcome));
    }

    /// Prints one line a step, again why the failed ones failed (who reads only the end of a long output must learn
    /// it there) and, as the very last line, the count.
    pub(crate) fn finish(self) -> ExitCode {
        let failed = self.steps.iter().filter(|step| step.2.is_err()).count();
        println!();
        for (name, millis, outcome) in &self.steps {
            let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("{verdict:<8}{name:<14}{:>10}", seconds(*millis));
        }
        for (name, _, outcome) in &self.steps {
            if let Err(why) = outcome {
                println!("{name}: {why}");
            }
        }
        println!("{} passed, {failed} failed", self.steps.len() - failed);
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn seconds(millis: u128) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_counted_and_later_steps_still_run() {
        let mut tally = Tally::default();
        tally.step("first", || Err("why".to_owned()));
        tally.step("second", || Ok(()));
        let outcomes: Vec<bool> = tally.steps.iter().map(|step| step.2.is_ok()).collect();
        assert_eq!(outcomes, [false, true]);
    }

    #[test]
    fn help_names_every_verb_on_a_line_of_its_own() {
        let text = help();
        for verb in VERBS {
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(verb.name)),
                "{} is missing",
                verb.name
            );
        }
    }
}
