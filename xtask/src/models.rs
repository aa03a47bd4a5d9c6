//! `cargo xtask models`: the running log under the model checkers, in every order of its threads or in many drawn ones.

use crate::{Outcome, Repo, cmd};

/// The checkers, by the switch that puts them in the place of locks and threads.
const CHECKERS: [&str; 2] = ["loom", "shuttle"];

/// Preemptions more than usual, and schedules as a multiple of the usual, of `--long`.
const LONG: [(&str, &str); 2] = [("WAL_MODELS_DEEPER", "1"), ("WAL_MODELS_TIMES", "10")];

/// `[loom|shuttle] [--long] [name of a model]`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let is_long = args.iter().any(|arg| arg == "--long");
    let words: Vec<&String> = args.iter().filter(|arg| *arg != "--long").collect();
    let (only, names): (Vec<&String>, Vec<&String>) =
        words.into_iter().partition(|word| CHECKERS.contains(&word.as_str()));
    let model = match names[..] {
        [] => "models::",
        [name] if !name.starts_with('-') => name.as_str(),
        _ => return Err("models [loom|shuttle] [--long] [name of a model]".to_owned()),
    };
    for checker in CHECKERS {
        if only.is_empty() || only.iter().any(|word| *word == checker) {
            check(repo, checker, model, is_long)?;
        }
    }
    Ok(())
}

/// Built with other flags, so in a place of its own: it must not push out what the others have built.
fn check(repo: &Repo, checker: &str, model: &str, is_long: bool) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args(["test", "--quiet", "--locked", "--profile", "models", "--package", "wal-engine", "--lib"]);
    // What each model says it tried is shown, below the line that names it.
    command.args(["--", model, "--show-output"]);
    command.env("CARGO_TARGET_DIR", repo.target.join("models").join(checker));
    command.env("RUSTFLAGS", format!("--cfg wal_{checker} -Dwarnings"));
    // Tests that must see a panic print it; its hundred frames tell nothing.
    command.env("RUST_BACKTRACE", "0");
    if is_long {
        command.envs(LONG);
    }
    cmd::run(&mut command)
}
