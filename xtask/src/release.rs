//! `cargo xtask release --dry-run`: whether the crates could be published as they are, and in which order.
//!
//! Nothing is uploaded from here: publishing is for a person, with the commands that this prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Outcome, Repo, cmd, msrv};

const HELP: &str =
    "release --dry-run [--fast]; --fast leaves out building from the packages, licences and semver";

/// Every package must hold these, and none of its files may lie below those.
const CONTENTS: [&str; 4] = ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
const NOT_CONTENTS: [&str; 2] = ["tests/data", "target"];
/// Someone downloads it each time a build begins afresh.
const PACKAGE_FILES_MAX: usize = 80;

/// A crate that is to be published.
struct Package {
    name: String,
    version: String,
    dir: PathBuf,
    /// Crates of ours that it needs, but for its tests, with the version asked for.
    needs: Vec<(String, String)>,
    /// Crates of ours that its tests need by version: the registry would have to have them first.
    tests_need: Vec<String>,
}

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let fast = match args.as_slice() {
        ["--dry-run"] => false,
        ["--dry-run", "--fast"] => true,
        _ => return Err(HELP.to_owned()),
    };
    let packages = packages(&repo.metadata);
    let ordered = order(&packages)?;
    let mut problems = versions(&packages);
    let version = packages.first().map_or("", |package| package.version.as_str());
    let changelog = read(&repo.root.join("CHANGELOG.md"))?;
    problems.extend(changelog_problem(&changelog, version));
    let oldest = format!("Rust {}", msrv::promised(repo)?);
    for package in &packages {
        let mut list = cmd::cargo(&package.dir);
        let files = cmd::output(list.args(["package", "--list", "--allow-dirty", "--quiet"]))?;
        problems.extend(contents(&package.name, &files));
        problems.extend(page(&package.name, &oldest, &read(&package.dir.join("README.md"))?));
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    println!("    version {version}, {} crates, in this order:", ordered.len());
    ordered.iter().for_each(|name| println!("        cargo publish --locked -p {name}"));
    if fast {
        return Ok(());
    }
    let mut build = cmd::cargo(&repo.root);
    build.args(["package", "--locked", "--allow-dirty", "--quiet"]);
    packages.iter().for_each(|package| {
        build.args(["-p", &package.name]);
    });
    cmd::run(&mut build)?;
    deny(repo)?;
    semver(repo)
}

/// Licences, bans and sources of all dependencies; advisories are left to whoever reaches their database.
fn deny(repo: &Repo) -> Outcome {
    cmd::need("cargo-deny", "--version", "cargo install --locked cargo-deny")?;
    cmd::run(cmd::cargo(&repo.root).args(["deny", "--locked", "check", "licenses", "bans", "sources"]))
}

/// Compares with the last release, if there was one: a tag `vX.Y.Z`.
fn semver(repo: &Repo) -> Outcome {
    let mut git = std::process::Command::new("git");
    git.current_dir(&repo.root).args(["tag", "--list", "v[0-9]*", "--sort=-version:refname"]);
    let tags = cmd::output(&mut git)?;
    let Some(base) = tags.lines().next() else {
        println!("    no release to compare the public items with yet");
        return Ok(());
    };
    cmd::need("cargo-semver-checks", "--version", "cargo install --locked cargo-semver-checks")?;
    cmd::run(cmd::cargo(&repo.root).args(["semver-checks", "--workspace", "--baseline-rev", base]))
}

fn packages(metadata: &Value) -> Vec<Package> {
    let none = Vec::new();
    let all = metadata["packages"].as_array().unwrap_or(&none);
    let published = |package: &&Value| !package["publish"].as_array().is_some_and(Vec::is_empty);
    let ours: BTreeSet<&str> = all.iter().filter(published).filter_map(|p| p["name"].as_str()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let package = |package: &Value| {
        let (mut needs, mut tests_need) = (Vec::new(), Vec::new());
        for dependency in package["dependencies"].as_array().unwrap_or(&none) {
            let name = text(&dependency["name"]);
            let asked = text(&dependency["req"]);
            if !ours.contains(name.as_str()) {
                continue;
            }
            if dependency["kind"] != "dev" {
                needs.push((name, asked));
            } else if asked != "*" {
                tests_need.push(name);
            }
        }
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let dir = manifest.parent().unwrap_or(Path::new("")).to_path_buf();
        Package { name: text(&package["name"]), version: text(&package["version"]), dir, needs, tests_need }
    };
    all.iter().filter(published).map(package).collect()
}

/// The order in which each finds what it needs, also for its tests, in the registry.
fn order(packages: &[Package]) -> Result<Vec<String>, String> {
    let mut ordered: Vec<String> = Vec::new();
    while ordered.len() < packages.len() {
        let ready = packages.iter().find(|package| {
            let needed = package.needs.iter().map(|(name, _)| name).chain(&package.tests_need);
            !ordered.contains(&package.name) && needed.into_iter().all(|name| ordered.contains(name))
        });
        let Some(ready) = ready else {
            let left = packages.iter().map(|package| package.name.as_str());
            let left: Vec<&str> = left.filter(|name| !ordered.iter().any(|done| done == name)).collect();
            return Err(format!(
                "{} need each other: give a test's dependency a path and no version",
                left.join(", ")
            ));
        };
        ordered.push(ready.name.clone());
    }
    Ok(ordered)
}

/// One version for all, and each asks for it.
fn versions(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    let version = packages.first().map_or("", |package| package.version.as_str());
    for package in packages {
        if package.version != version {
            problems.push(format!("{} has version {}, others {version}", package.name, package.version));
        }
        for (name, asked) in &package.needs {
            if asked.trim_start_matches('^') != version {
                problems.push(format!("{} asks for {name} {asked}, which is {version}", package.name));
            }
        }
    }
    problems
}

/// The changelog begins with this version.
fn changelog_problem(changelog: &str, version: &str) -> Option<String> {
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## "))?;
    let entry = newest.split_whitespace().next().unwrap_or_default();
    (entry != version).then(|| format!("CHANGELOG.md begins with {entry}, the crates have version {version}"))
}

fn contents(name: &str, files: &str) -> Vec<String> {
    let files: Vec<&str> = files.lines().collect();
    let mut problems = Vec::new();
    for wanted in CONTENTS.iter().filter(|wanted| !files.contains(wanted)) {
        problems.push(format!("the package of {name} lacks {wanted}"));
    }
    for unwanted in NOT_CONTENTS.iter().filter(|bad| files.iter().any(|file| file.starts_with(**bad))) {
        problems.push(format!("the package of {name} holds {unwanted}: exclude it"));
    }
    if PACKAGE_FILES_MAX < files.len() {
        problems.push(format!("the package of {name} holds {} files", files.len()));
    }
    problems
}

/// What a page says to whoever finds the crate by itself.
fn page(name: &str, oldest: &str, readme: &str) -> Vec<String> {
    let wanted = [
        ("an example", "```"),
        ("its features", "feature"),
        ("the oldest Rust", oldest),
        ("its dependencies", "cargo tree"),
    ];
    let missing = wanted.iter().filter(|(_, text)| !readme.contains(text));
    missing.map(|(what, _)| format!("the README of {name} does not tell {what}")).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, needs: &[&str], tests_need: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            dir: PathBuf::new(),
            needs: needs.iter().map(|name| ((*name).to_owned(), "^0.1.0".to_owned())).collect(),
            tests_need: tests_need.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn each_crate_comes_behind_what_it_needs() {
        let packages = [package("c", &["b", "a"], &[]), package("b", &["a"], &[]), package("a", &[], &[])];
        assert_eq!(order(&packages).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn crates_whose_tests_need_each_other_cannot_be_published() {
        let packages = [package("a", &[], &["b"]), package("b", &["a"], &[])];
        assert!(order(&packages).unwrap_err().contains("a, b"));
    }

    #[test]
    fn versions_that_differ_are_told() {
        let mut packages = [package("a", &[], &[]), package("b", &["a"], &[])];
        assert!(versions(&packages).is_empty());
        packages[1].needs[0].1 = "^0.0.9".to_owned();
        assert!(versions(&packages)[0].contains("0.0.9"));
        packages[1].version = "0.2.0".to_owned();
        assert_eq!(versions(&packages).len(), 2);
    }

    #[test]
    fn a_changelog_of_another_version_is_told() {
        assert_eq!(changelog_problem("# C\n\n## 0.1.0 - unreleased\n", "0.1.0"), None);
        assert!(changelog_problem("# C\n\n## 0.1.0 - unreleased\n", "0.2.0").is_some());
    }

    #[test]
    fn what_a_package_lacks_or_should_not_hold_is_told() {
        let whole = "Cargo.toml\nLICENSE-APACHE\nLICENSE-MIT\nREADME.md\nsrc/lib.rs";
        assert!(contents("a", whole).is_empty());
        assert_eq!(contents("a", "Cargo.toml\nREADME.md").len(), 2);
        assert_eq!(contents("a", &format!("{whole}\ntests/data/x")).len(), 1);
    }
}
