//! `cargo xtask ci`: every step in order, all of them run even when one fails, the failed ones named at the end.

use crate::{
    Outcome, Repo, Tally, bench, cmd, commands, crash, crates, disks, examples, fuzz, golden, images,
    interop, layers, models, msrv, release, sim, tidy,
};

/// Runs every step; the caller prints the result.
pub(crate) fn steps(repo: &Repo, tally: &mut Tally) {
    let none = &[];
    tally.step("fmt", || fmt(repo, none));
    tally.step("lint", || lint(repo, none));
    tally.step("doc", || doc(repo, none));
    tally.step("layers", || layers::run(repo, none));
    tally.step("tidy", || tidy::run(repo, none));
    tally.step("test", || test(repo, none));
    tally.step("golden", || golden::run(repo, none));
    tally.step("sim", || sim::run(repo, none));
    tally.step("crash", || crash::run(repo, none));
    tally.step("disks", || disks::run(repo, none));
    tally.step("images", || images::run(repo, none));
    tally.step("commands", || commands::run(repo, none));
    tally.step("release", || release::run(repo, &["--dry-run".to_owned(), "--fast".to_owned()]));
    tally.step("examples", || examples::run(repo, none));
    tally.step("models", || models::run(repo, none));
    tally.step("crates", || crates::run(repo, none));
    tally.step("msrv", || msrv::run(repo, none));
    tally.step("fuzz check", || fuzz::check(repo));
    tally.step("fuzz replay", || fuzz::replay(repo));
    tally.step("bench smoke", || bench::smoke(repo));
    tally.step("demo", || demo(repo));
    tally.step("interop", || interop::run(repo, none));
}

/// Formatting is checked, not changed. The fuzz targets are a workspace of their own.
pub(crate) fn fmt(repo: &Repo, _: &[String]) -> Outcome {
    let hint = "rustup component add rustfmt";
    cmd::need("rustfmt", "--version", hint)?;
    cmd::run(cmd::cargo(&repo.root).args(["fmt", "--all", "--check"]))?;
    cmd::run(cmd::cargo(&repo.root.join("fuzz")).args(["fmt", "--check"]))?;
    cmd::run(cmd::cargo(&repo.root.join("benches/peers")).args(["fmt", "--check"]))
}

/// Clippy on everything, with every warning an error.
pub(crate) fn lint(repo: &Repo, _: &[String]) -> Outcome {
    cmd::need("cargo-clippy", "--version", "rustup component add clippy")?;
    cmd::run(cmd::cargo(&repo.root).args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--",
        "-Dwarnings",
    ]))
}

/// Documentation, with every warning (a missing page, a dead link) an error.
pub(crate) fn doc(repo: &Repo, _: &[String]) -> Outcome {
    let mut command = cmd::cargo(&repo.root);
    command.args(["doc", "--quiet", "--workspace", "--all-features", "--no-deps", "--locked"]);
    cmd::run(command.env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// Unit, integration and documentation tests, recorded regressions included.
pub(crate) fn test(repo: &Repo, args: &[String]) -> Outcome {
    cmd::run(
        cmd::cargo(&repo.root)
            .args(["test", "--workspace", "--all-features", "--locked", "--no-fail-fast"])
            .args(args),
    )
}

/// The README's first command, built as a user would build it, in an empty directory.
fn demo(repo: &Repo) -> Outcome {
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let mut command = cmd::cargo(scratch.path());
    command.args(["run", "--quiet", "--release", "--locked", "--package", "wal-cli", "--bin", "wal"]);
    command.arg("--manifest-path").arg(repo.root.join("Cargo.toml"));
    // The build output stays where everything else of this checkout goes.
    command.arg("--target-dir").arg(&repo.target);
    cmd::run(command.args(["--", "demo"]))
}
