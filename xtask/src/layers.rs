//! `cargo xtask layers`: the arrows between crates point down, and each crate takes only what its page promises.

use serde_json::Value;

use crate::{Outcome, Repo};

/// A crate, the crates of ours below it, and what else it may take. `None`: anything (still no arrow up).
struct Layer {
    name: &'static str,
    others: Option<&'static [&'static str]>,
}

/// Lowest first; a crate may use only those before it.
const LAYERS: [Layer; 6] = [
    Layer { name: "wal-types", others: Some(&[]) },
    Layer { name: "wal-format", others: Some(&["bytemuck", "crc32c", "thiserror"]) },
    Layer { name: "wal-segment", others: None },
    // For tests: the engine takes it as a development dependency, if at all.
    Layer { name: "wal-sim", others: Some(&[]) },
    Layer { name: "wal-engine", others: None },
    Layer { name: "wal-cli", others: None },
];

/// What only the tool may pull in: someone who takes a library gets none of it.
const TOOL_ONLY: [&str; 6] = ["clap", "clap_complete", "clap_mangen", "indicatif", "regex", "serde_json"];

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let problems = check(&repo.metadata);
    if problems.is_empty() {
        println!("    {} layers, every arrow points down", LAYERS.len());
        return Ok(());
    }
    Err(problems.join("\n"))
}

/// One sentence for each arrow that is not allowed. Development dependencies are free.
fn check(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let none = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&none);
    for (rank, layer) in LAYERS.iter().enumerate() {
        let Some(package) = packages.iter().find(|package| package["name"] == layer.name) else {
            problems.push(format!("layers: crate {} is gone from the workspace", layer.name));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap_or(&none) {
            // "dev" is the only kind that no user of the crate ever builds.
            if dependency["kind"] != "dev" {
                let name = dependency["name"].as_str().unwrap_or("?");
                problems.extend(
                    arrow(rank, layer, name).map(|why| format!("layers: {} -> {name}: {why}", layer.name)),
                );
            }
        }
    }
    // A new crate under crates/ must be given its place here before it is used.
    for package in packages {
        let name = package["name"].as_str().unwrap_or("?");
        let shipped = package["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/"));
        if shipped && rank_of(name).is_none() {
            problems.push(format!("layers: crate {name} has no layer; give it one in xtask/src/layers.rs"));
        }
    }
    problems
}

/// Why this arrow is wrong, if it is.
fn arrow(rank: usize, layer: &Layer, to: &str) -> Option<&'static str> {
    if let Some(to_rank) = rank_of(to) {
        return (to_rank >= rank).then_some("an arrow may only point down");
    }
    if TOOL_ONLY.contains(&to) && layer.name != "wal-cli" {
        return Some("only the tool may depend on it");
    }
    match layer.others {
        Some(allowed) if !allowed.contains(&to) => Some("not among what this crate may take"),
        _ => None,
    }
}

fn rank_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The workspace as it should be, with one more dependency put into one crate.
    fn with(extra_in: &str, extra: &str, kind: Value) -> Vec<String> {
        let mut packages = Vec::new();
        for (rank, layer) in LAYERS.iter().enumerate() {
            let mut dependencies: Vec<Value> =
                LAYERS[..rank].iter().map(|below| json!({"name": below.name, "kind": null})).collect();
            if layer.name == extra_in {
                dependencies.push(json!({"name": extra, "kind": kind}));
            }
            let manifest = format!("/somewhere/crates/{}/Cargo.toml", layer.name);
            packages
                .push(json!({"name": layer.name, "manifest_path": manifest, "dependencies": dependencies}));
        }
        check(&json!({ "packages": packages }))
    }

    #[test]
    fn arrows_that_point_down_pass() {
        assert_eq!(with("wal-format", "crc32c", json!(null)), [""; 0]);
        assert_eq!(with("wal-cli", "clap", json!(null)), [""; 0]);
    }

    #[test]
    fn an_arrow_that_points_up_is_reported() {
        assert_eq!(with("wal-format", "wal-engine", json!(null)).len(), 1);
        assert_eq!(with("wal-format", "wal-format", json!(null)).len(), 1);
    }

    #[test]
    fn the_lowest_crate_may_take_nothing_not_even_for_its_build() {
        assert_eq!(with("wal-types", "thiserror", json!(null)).len(), 1);
        assert_eq!(with("wal-types", "cc", json!("build")).len(), 1);
    }

    #[test]
    fn a_tool_dependency_in_a_library_is_reported() {
        assert_eq!(with("wal-engine", "serde_json", json!(null)).len(), 1);
    }

    #[test]
    fn development_dependencies_are_free() {
        assert_eq!(with("wal-types", "wal-engine", json!("dev")), [""; 0]);
    }

    #[test]
    fn a_crate_that_is_missing_or_has_no_layer_is_reported() {
        let unknown =
            json!({"name": "wal-new", "manifest_path": "/x/crates/wal-new/Cargo.toml", "dependencies": []});
        let problems = check(&json!({ "packages": [unknown] }));
        assert_eq!(problems.len(), LAYERS.len() + 1, "{problems:?}");
    }
}
