//! `cargo xtask sim`: power loss on the simulated disk, in an optimised build, on all cores.

use std::time::Duration;

use crate::{Outcome, Repo, cmd};

const STATES: &str = "10000000";
const STATES_LONG: &str = "1000000000";
/// A billion states take hours on two cores.
const LONG_TIME_MAX: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// Ten million durable images, or what is asked for; with `--schedule FILE` a failure of before.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "wal-sim",
        "--example",
        "crash",
        "--",
    ]);
    let (long, rest): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| *arg == "--long");
    if !rest.chunks(2).all(|pair| pair.len() == 2 && OPTIONS.contains(&pair[0].as_str())) {
        return Err(format!("sim takes --long and, each with a value, {}", OPTIONS.join(", ")));
    }
    let is_long = !long.is_empty();
    // What is given twice counts as given first.
    command.args(rest).args(["--states", if is_long { STATES_LONG } else { STATES }]);
    if is_long { cmd::run_within(&mut command, LONG_TIME_MAX) } else { cmd::run(&mut command) }
}

const OPTIONS: [&str; 5] = ["--states", "--seed", "--kind", "--threads", "--schedule"];
