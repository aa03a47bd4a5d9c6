//! `cargo xtask crates`: each publishable crate builds alone, with only the features that it asks for itself.

use serde_json::Value;
use std::path::Path;

use crate::{Outcome, Repo, cmd};

/// Inside the workspace cargo unites the features of all members, so a crate may compile only thanks to a
/// neighbour. Here each one is the only dependency of an empty project outside the workspace.
pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let none = Vec::new();
    let mut count = 0;
    for package in repo.metadata["packages"].as_array().unwrap_or(&none) {
        // `publish = false` reads as an empty list of registries.
        if package["publish"].as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let name = package["name"].as_str().ok_or("a package has no name")?;
        let has_library =
            package["targets"].as_array().unwrap_or(&none).iter().any(|target| {
                target["kind"].as_array().is_some_and(|kinds| kinds.contains(&Value::from("lib")))
            });
        if has_library {
            let manifest = package["manifest_path"].as_str().ok_or("a package has no manifest")?;
            let dir = Path::new(manifest).parent().ok_or("a manifest has no directory")?;
            alone(repo, name, dir)?;
        } else {
            // Nothing can depend on a program; selecting it alone also selects its features alone.
            cmd::run(cmd::cargo(&repo.root).args(["check", "--quiet", "--locked", "--package", name]))?;
        }
        count += 1;
    }
    println!("    {count} crates build alone");
    Ok(())
}

fn alone(repo: &Repo, name: &str, dir: &Path) -> Outcome {
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let put = |file: &str, text: &str| {
        let path = scratch.path().join(file);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let dir = dir.display();
    put(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"alone\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [lib]\npath = \"lib.rs\"\n\n[dependencies]\n{name} = {{ path = \"{dir}\" }}\n\n[workspace]\n"
        ),
    )?;
    put("lib.rs", &format!("//! Uses one crate alone.\npub use {} as alone;\n", name.replace('-', "_")))?;
    // The same versions as everywhere else, so nothing is downloaded again.
    let lock =
        std::fs::read_to_string(repo.root.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    put("Cargo.lock", &lock)?;
    println!("    {name} in an empty project");
    cmd::run(cmd::cargo(scratch.path()).args(["check", "--quiet", "--target-dir"]).arg(&repo.target))
}
