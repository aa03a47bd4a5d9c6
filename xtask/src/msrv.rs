//! `cargo xtask msrv`: what is published builds with the oldest Rust that it promises.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Outcome, Repo, cmd};

/// Debian's names of a second, newer compiler beside its own, and of its own.
const DEBIAN_SUFFIXES: [&str; 2] = ["-web", ""];

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let wanted = promised(repo)?;
    let home = repo.target.join("msrv");
    let oldest = match from_rustup(&wanted) {
        Some(rustc) => Compiler { rustc, libraries: Vec::new() },
        None => from_debian(&wanted, &home.join(format!("rust-{wanted}")))?,
    };
    let version = cmd::output(&mut oldest.command())?;
    if !version.starts_with(&format!("rustc {wanted}.")) {
        return Err(format!("{} is {}, not {wanted}", oldest.rustc.display(), version.trim()));
    }
    println!("    {}", version.trim());
    // Libraries and the tool, as somebody builds them who takes them: tests may need what is newer.
    let mut check = cmd::cargo(&repo.root);
    check.args(["check", "--quiet", "--locked", "--all-features", "--lib", "--bins"]);
    for name in published(repo) {
        check.args(["--package", name]);
    }
    // A folder of its own, as the other compiler would build everything anew, and warnings are not what is asked.
    check.arg("--target-dir").arg(home.join("build")).env("RUSTFLAGS", "--cap-lints=allow");
    cmd::run(oldest.rules(&mut check))
}

/// A compiler, and where the libraries are that it needs to run.
struct Compiler {
    rustc: PathBuf,
    libraries: Vec<PathBuf>,
}

impl Compiler {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.rustc);
        self.rules(command.arg("--version"));
        command
    }

    /// Lets a command use this compiler.
    fn rules<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Ok(paths) = std::env::join_paths(&self.libraries)
            && !paths.is_empty()
        {
            command.env("LD_LIBRARY_PATH", paths);
        }
        command.env("RUSTC", &self.rustc)
    }
}

/// The oldest Rust that the workspace states.
pub(crate) fn promised(repo: &Repo) -> Result<String, String> {
    let mut stated: Vec<&str> =
        packages(repo).map(|package| package["rust_version"].as_str().unwrap_or("none")).collect();
    stated.sort_unstable();
    stated.dedup();
    match stated.as_slice() {
        [one] if *one != "none" => Ok((*one).to_owned()),
        _ => Err(format!(
            "the published crates state these oldest versions of Rust, one was wanted: {stated:?}"
        )),
    }
}

fn packages(repo: &Repo) -> impl Iterator<Item = &serde_json::Value> {
    let all = repo.metadata["packages"].as_array().into_iter().flatten();
    all.filter(|package| package["publish"].is_null())
}

fn published(repo: &Repo) -> impl Iterator<Item = &str> {
    packages(repo).filter_map(|package| package["name"].as_str())
}

fn from_rustup(version: &str) -> Option<PathBuf> {
    let mut ask = Command::new("rustup");
    let found = ask.args(["which", "--toolchain", version, "rustc"]).stderr(Stdio::null()).output().ok()?;
    found.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&found.stdout).trim()))
}

/// Debian's packages of that version, unpacked and not installed: installed, they would replace the compiler in use.
fn from_debian(version: &str, home: &Path) -> Result<Compiler, String> {
    let root = home.join("root");
    let compiler = |root: &Path| {
        let lib = root.join("usr/lib");
        let llvm = fs::read_dir(&lib).into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
        let libraries = llvm.filter(|path| path.is_dir()).chain([lib.join("x86_64-linux-gnu"), lib.clone()]);
        Compiler { rustc: root.join("usr/bin/rustc"), libraries: libraries.collect() }
    };
    if root.is_dir() {
        return Ok(compiler(&root));
    }
    let how = format!("rustup toolchain install {version} --profile minimal");
    let (suffix, exact) = DEBIAN_SUFFIXES
        .iter()
        .find_map(|suffix| Some((suffix, available(&format!("rustc{suffix}"), version)?)))
        .ok_or_else(|| format!("no Rust {version} here, neither rustup's nor a package of Debian: {how}"))?;
    let unpacked = home.join("unpacked");
    // What an interrupted run left is not known to be whole.
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(&unpacked).map_err(|e| format!("{}: {e}", unpacked.display()))?;
    let library = format!("libstd-rust{suffix}-{version}={exact}");
    let mut download = Command::new("apt-get");
    download.current_dir(home).args(["download", "--quiet=2", &library]);
    download.args([format!("rustc{suffix}={exact}"), format!("libstd-rust{suffix}-dev={exact}")]);
    cmd::run(download.args(llvm_of(&library)?))?;
    for entry in fs::read_dir(home).map_err(|e| format!("{}: {e}", home.display()))?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "deb") {
            cmd::run(Command::new("dpkg-deb").arg("--extract").arg(entry.path()).arg(&unpacked))?;
        }
    }
    // Whole under its name, or not there.
    fs::rename(&unpacked, &root).map_err(|e| format!("{}: {e}", root.display()))?;
    Ok(compiler(&root))
}

/// The exact version of a package of Debian, if there is one of this version of Rust.
fn available(package: &str, version: &str) -> Option<String> {
    let listed = Command::new("apt-cache").args(["madison", package]).output().ok()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut versions = listed.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    versions.find(|exact| exact.starts_with(&format!("{version}."))).map(str::to_owned)
}

/// The package of the LLVM that a compiler runs on.
fn llvm_of(library: &str) -> Result<Option<String>, String> {
    let needs = cmd::output(Command::new("apt-cache").args(["show", library]))?;
    let depends = needs.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    let mut names = depends.split(", ").filter_map(|need| need.split_whitespace().next());
    Ok(names.find(|name| name.starts_with("libllvm")).map(str::to_owned))
}
