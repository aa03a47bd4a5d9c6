//! `cargo xtask bench`: the criterion benches and the table of throughput; `--smoke` runs each once, small.

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
            throughput(repo, &[])
        }
        [flag] if flag == "--smoke" => smoke(repo),
        _ => Err("bench takes nothing or --smoke".to_owned()),
    }
}

/// Everything is built as for measuring and run once: a bench that no longer works is found here.
pub(crate) fn smoke(repo: &Repo) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    cmd::run(command.args([
        "bench",
        "--quiet",
        "--package",
        "wal-benches",
        "--locked",
        "--benches",
        "--",
        "--test",
    ]))?;
    throughput(repo, &["--smoke"])
}

fn throughput(repo: &Repo, args: &[&str]) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    // The same profile as the benches, so that nothing is built twice.
    command.args([
        "run",
        "--quiet",
        "--profile",
        "bench",
        "--locked",
        "--package",
        "wal-benches",
        "--bin",
        "throughput",
        "--",
    ]);
    cmd::run(command.args(args))
}
