//! `cargo xtask mutants`: the code is changed in one small place after another, and a test must notice each change.

use std::time::Duration;

use crate::{Outcome, Repo, cmd, coverage};

const HELP: &str = "mutants [--file F] [--again]";

/// What is changed, and the packages whose tests must notice.
const PASSES: [(&[&str], &[&str]); 3] = [
    (&["crates/wal-format/src/*.rs"], &["wal-format"]),
    (&coverage::RECOVERY, &["wal-engine"]),
    (
        &[
            "crates/wal-segment/src/verdict.rs",
            "crates/wal-segment/src/header.rs",
            "crates/wal-segment/src/reader.rs",
            "crates/wal-segment/src/position.rs",
            "crates/wal-segment/src/dir.rs",
        ],
        &["wal-segment"],
    ),
];

/// What a whole pass may take.
const PASS_TIME_MAX: Duration = Duration::from_secs(8 * 3600);

/// Fails when a change was made that no test noticed. The settings are in `.cargo/mutants.toml`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let wanted = wanted(args)?;
    cmd::need("cargo-mutants", "--version", "cargo install --locked cargo-mutants")?;
    let mut problems = Vec::new();
    let mut passes = 0;
    for (index, (files, packages)) in PASSES.iter().enumerate() {
        let Some(files) = wanted.among(files) else { continue };
        passes += 1;
        let mut command = cmd::cargo(&repo.root);
        command.args(["mutants", "--output"]).arg(repo.target.join(format!("mutants-{index}")));
        command.args(files.iter().flat_map(|file| ["--file", file]));
        command.args(packages.iter().flat_map(|package| ["--test-package", package]));
        // Nobody debugs these builds, and there are hundreds of them.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
        if wanted.again {
            command.arg("--iterate");
        }
        problems.extend(cmd::run_within(&mut command, PASS_TIME_MAX).err());
    }
    match (passes, problems.is_empty()) {
        (0, _) => Err(format!("no file that is changed is called that; {HELP}")),
        (_, true) => Ok(()),
        _ => Err(problems.join("\n")),
    }
}

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    file: Option<String>,
    /// Only what was not noticed the last time.
    again: bool,
}

impl Wanted {
    /// The files of a pass to change, or none.
    fn among(&self, files: &[&str]) -> Option<Vec<String>> {
        let Some(file) = &self.file else { return Some(files.iter().map(|f| (*f).to_owned()).collect()) };
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let known = |glob: &str| glob == file || (glob.ends_with("/*.rs") && folder(glob) == folder(file));
        files.iter().any(|glob| known(glob)).then(|| vec![file.clone()])
    }
}

fn wanted(args: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--file" => wanted.file = Some(rest.next().ok_or(HELP)?.clone()),
            "--again" => wanted.again = true,
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_file_is_taken_from_the_pass_that_knows_it() {
        let asked = |file: &str| wanted(&["--file".to_owned(), file.to_owned()]).unwrap();
        let passes = |file: &str| PASSES.map(|(files, _)| asked(file).among(files).is_some());
        assert_eq!(passes("crates/wal-format/src/scan.rs"), [true, false, false]);
        assert_eq!(passes("crates/wal-engine/src/scan.rs"), [false, true, false]);
        assert_eq!(passes("crates/wal-segment/src/reader.rs"), [false, false, true]);
        assert_eq!(passes("crates/wal-cli/src/text.rs"), [false, false, false]);
        assert!(wanted(&["--file".to_owned()]).is_err() && wanted(&["x".to_owned()]).is_err());
    }
}
