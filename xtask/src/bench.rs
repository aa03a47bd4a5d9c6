//! `cargo xtask bench`: the criterion benches and the table of goals; `--smoke` runs each once, small.

use crate::{Outcome, Repo, cmd};

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
            figures(repo, &[])
        }
        [flag] if flag == "--smoke" => smoke(repo),
        _ => Err("bench takes nothing or --smoke".to_owned()),
    }
}

/// Everything is built and run once, small: a bench that no longer works is found here.
pub(crate) fn smoke(repo: &Repo) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args(["bench", "--quiet", "--package", "wal-benches", "--locked", "--benches", "--", "--test"]);
    cmd::run(command.envs(QUICK_BUILD))?;
    figures(repo, &["--smoke"])
}

/// Nothing is measured, and linking the whole program at once takes most of the time of a build.
const QUICK_BUILD: [(&str, &str); 3] = [
    ("CARGO_PROFILE_BENCH_LTO", "off"),
    ("CARGO_PROFILE_BENCH_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_BENCH_DEBUG", "0"),
];

fn figures(repo: &Repo, args: &[&str]) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    // The same profile as the benches, so that nothing is built twice.
    command.args(["run", "--quiet", "--profile", "bench", "--locked", "--package", "wal-benches"]);
    command.args(["--bin", "figures", "--"]).args(args);
    if !args.is_empty() {
        command.envs(QUICK_BUILD);
    }
    cmd::run(&mut command)
}
