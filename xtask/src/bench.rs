//! `cargo xtask bench`: the criterion benches and the table of goals; `--smoke` runs each once, small; `--peers` compares
//! with other logs.

use crate::{Outcome, Repo, bench_peers, cmd};

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    match args {
        [] => {
            cmd::run(cmd::cargo(&repo.root).args([
                "bench",
                "--package",
                "wal-benches",
                "--locked",
                "--benches",
            ]))?;
            cmd::run(&mut figures(repo))
        }
        [flag] if flag == "--smoke" => smoke(repo),
        [flag, rest @ ..] if flag == "--peers" => bench_peers::run(repo, rest),
        _ => Err("bench takes nothing, --smoke, or --peers".to_owned()),
    }
}

/// Everything is built and run once, small: a bench that no longer works is found here.
pub(crate) fn smoke(repo: &Repo) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args(["bench", "--quiet", "--package", "wal-benches", "--locked", "--benches", "--", "--test"]);
    cmd::run(command.envs(QUICK_BUILD))?;
    cmd::run(figures(repo).arg("--smoke").envs(QUICK_BUILD))
}

/// Nothing is measured, and linking the whole program at once takes most of the time of a build.
const QUICK_BUILD: [(&str, &str); 3] = [
    ("CARGO_PROFILE_BENCH_LTO", "off"),
    ("CARGO_PROFILE_BENCH_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_BENCH_DEBUG", "0"),
];

/// The program that prints the table of goals; what is added are its own arguments.
pub(crate) fn figures(repo: &Repo) -> std::process::Command {
    let mut command = cmd::cargo(&repo.root);
    // The same profile as the benches, so that nothing is built twice.
    command.args(["run", "--quiet", "--profile", "bench", "--locked", "--package", "wal-benches"]);
    command.args(["--bin", "figures", "--"]);
    command
}
