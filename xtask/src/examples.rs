//! `cargo xtask examples`: every example is a whole program, and does what its first lines say.

use std::path::Path;

use crate::{Outcome, Repo, cmd};

/// An example, how it is called, and what it must have said.
struct Example {
    package: &'static str,
    name: &'static str,
    /// `DIR` stands for a directory that is there for the whole run.
    args: &'static [&'static str],
    says: &'static str,
}

/// In this order: later ones read the log that `head` writes.
const EXAMPLES: [Example; 6] = [
    Example { package: "wal-engine", name: "head", args: &["DIR/head"], says: "left: 20 series" },
    Example {
        package: "wal-engine",
        name: "writers",
        args: &["DIR/writers", "4", "50"],
        says: "200 durable commits",
    },
    Example {
        package: "wal-engine",
        name: "tokio",
        args: &["DIR/tokio", "16", "20"],
        says: "320 durable commits",
    },
    Example { package: "wal-engine", name: "follow", args: &["DIR/head", "DIR/place", "0"], says: "items" },
    Example {
        package: "wal-engine",
        name: "metrics",
        args: &["DIR/metrics", "127.0.0.1:0", "0"],
        says: "/metrics",
    },
    Example { package: "wal-format", name: "decode", args: &["DIR/writers/000001"], says: "ends" },
];

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    complete(repo)?;
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    for example in &EXAMPLES {
        once(repo, example, scratch.path())?;
    }
    println!("    {} examples ran and said what they should", EXAMPLES.len());
    Ok(())
}

/// An example that is not in the list would rot unseen.
fn complete(repo: &Repo) -> Outcome {
    let none = Vec::new();
    for package in repo.metadata["packages"].as_array().unwrap_or(&none) {
        for target in package["targets"].as_array().unwrap_or(&none) {
            let is_example =
                target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "example"));
            // The long crash run of wal-sim is `cargo xtask sim`.
            if is_example
                && package["name"] != "wal-sim"
                && !EXAMPLES.iter().any(|known| target["name"] == known.name)
            {
                return Err(format!("example {} is not run by xtask/src/examples.rs", target["name"]));
            }
        }
    }
    Ok(())
}

fn once(repo: &Repo, example: &Example, scratch: &Path) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args(["run", "--quiet", "--locked", "--all-features"]);
    command.args(["--package", example.package, "--example", example.name, "--"]);
    command.args(example.args.iter().map(|arg| arg.replace("DIR", &scratch.to_string_lossy())));
    let said = cmd::output(&mut command)?;
    if said.contains(example.says) {
        return Ok(());
    }
    Err(format!("example {} did not say `{}` but: {said}", example.name, example.says))
}
