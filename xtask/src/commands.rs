//! `cargo xtask commands`: every command that a document shows exists, with every flag it is given.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Outcome, Repo, VERBS, cmd, tidy};

/// A command as a document shows it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    document: String,
    words: Vec<String>,
}

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let mut shown = Vec::new();
    for (name, text) in tidy::documents(repo)? {
        shown.extend(commands(&text).into_iter().map(|words| Shown { document: name.clone(), words }));
    }
    let help = Help::of(repo)?;
    let mut problems = Vec::new();
    for command in &shown {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        let wrong = match words.as_slice() {
            // Of another workspace of the repository.
            ["cargo", rest @ ..] if rest.contains(&"--manifest-path") => {
                let manifest = rest.iter().skip_while(|word| **word != "--manifest-path").nth(1);
                match crate::metadata(&repo.root, manifest.unwrap_or(&"")) {
                    Ok(metadata) => cargo_problem(&metadata, rest),
                    Err(why) => Some(why),
                }
            }
            ["cargo", rest @ ..] => cargo_problem(&repo.metadata, rest),
            ["wal", rest @ ..] => help.problem(rest),
            _ => None,
        };
        problems.extend(wrong.map(|why| format!("{}: `{}`: {why}", command.document, words.join(" "))));
    }
    println!("    {} commands in the documents", shown.len());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// What the tool says of each of its commands.
struct Help(BTreeMap<String, String>);

impl Help {
    fn of(repo: &Repo) -> Result<Self, String> {
        let tool = repo.wal_tool()?;
        let ask = |args: &[&str]| cmd::output(std::process::Command::new(&tool).args(args));
        let mut texts = BTreeMap::new();
        let overview = ask(&["--help"])?;
        for name in subcommands(&overview) {
            let mut text = ask(&[name, "--help"])?;
            for inner in subcommands(&text.clone()) {
                text += &ask(&[name, inner, "--help"])?;
            }
            texts.insert(name.to_owned(), text);
        }
        Ok(Self(texts))
    }

    fn problem(&self, words: &[&str]) -> Option<String> {
        let (name, rest) = words.split_first()?;
        // A word in capitals stands for any.
        if name.chars().all(char::is_uppercase) || name.starts_with("--") {
            return None;
        }
        let Some(text) = self.0.get(*name) else {
            return Some(format!("the tool has no command `{name}`"));
        };
        let flags = rest.iter().filter_map(|word| word.trim_matches(['[', ']']).split('=').next());
        let unknown =
            flags.filter(|word| word.starts_with("--") && !has_flag(text, word)).collect::<Vec<_>>();
        (!unknown.is_empty()).then(|| format!("`wal {name}` does not know {}", unknown.join(" ")))
    }
}

/// Whether a help text has the flag as a whole word.
fn has_flag(text: &str, flag: &str) -> bool {
    flag == "--help" || text.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| word == flag)
}

/// The names below `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<&str> {
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        below.take_while(|line| line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

/// What is wrong with a call of cargo: a verb, a package or a target that is not there.
fn cargo_problem(metadata: &Value, words: &[&str]) -> Option<String> {
    if let ["xtask", rest @ ..] = words {
        let verb = rest.iter().find(|word| !word.starts_with('-'))?;
        let known = *verb == "ci" || VERBS.iter().any(|known| known.name == *verb);
        let any = verb.chars().all(char::is_uppercase);
        return (!known && !any).then(|| format!("xtask has no verb `{verb}`"));
    }
    let own: Vec<&str> = words.iter().copied().take_while(|word| *word != "--").collect();
    let value = |flags: &[&str]| {
        let at = own.iter().position(|word| flags.contains(word))?;
        own.get(at + 1).copied().filter(|word| !word.chars().all(char::is_uppercase))
    };
    let none = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&none);
    let package = value(&["-p", "--package"]);
    // What is looked at may come from a registry: only our own names are known here.
    let ours = |name: &str| packages.iter().find(|known| known["name"] == name);
    if let Some(name) = package
        && name.starts_with("wal-")
        && ours(name).is_none()
    {
        return Some(format!("there is no package {name}"));
    }
    for (flag, kind) in [("--example", "example"), ("--bin", "bin"), ("--test", "test"), ("--bench", "bench")]
    {
        let Some(target) = value(&[flag]) else { continue };
        let mut all = packages.iter().filter(|known| package.is_none_or(|name| known["name"] == name));
        let found = all.any(|known| has_target(known, kind, target));
        if !found {
            return Some(format!("there is no {kind} `{target}`"));
        }
    }
    None
}

fn has_target(package: &Value, kind: &str, name: &str) -> bool {
    let none = Vec::new();
    package["targets"].as_array().unwrap_or(&none).iter().any(|target| {
        target["name"] == name
            && target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == kind))
    })
}

/// Everything in a document that is a call of cargo or of the tool: code in lines, and lines of code.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced || line.starts_with("    ") {
            found.extend(calls(line));
        } else {
            line.split('`').skip(1).step_by(2).for_each(|code| found.extend(calls(code)));
        }
    }
    found
}

/// The calls in a line of a shell: parts of a pipe, without settings before and comments behind.
fn calls(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().replace("\\|", "|");
    let parts = line.split(['|', ';', '&']).map(|part| {
        let words = part
            .split_whitespace()
            .skip_while(|word| *word == "$" || word.contains('=') && !word.starts_with('-'));
        words.map(|word| word.trim_matches(['\'', '"', '(', ')', ',']).to_owned()).collect::<Vec<String>>()
    });
    parts.filter(|words| 1 < words.len() && ["cargo", "wal"].contains(&words[0].as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        commands(text).into_iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn commands_are_found_in_lines_blocks_pipes_and_tables() {
        let text = "Run `cargo xtask ci`, or `wal`.\n```sh\n$ wal dump a | wal import b  # copies\n```\n\
                    | x | `A=1 wal dump a \\| wal stat b` |\n    cargo run -p x\nwal is prose";
        let wanted =
            ["cargo xtask ci", "wal dump a", "wal import b", "wal dump a", "wal stat b", "cargo run -p x"];
        assert_eq!(found(text), wanted);
    }

    #[test]
    fn a_verb_or_a_target_that_is_not_there_is_told() {
        let metadata = serde_json::json!({ "packages": [{ "name": "wal-x", "targets": [
            { "name": "follow", "kind": ["example"] }] }] });
        let problem = |line: &str| cargo_problem(&metadata, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(problem("xtask ci"), None);
        assert_eq!(problem("xtask VERB"), None);
        assert_eq!(problem("run -p wal-x --example follow -- --bin no"), None);
        assert!(problem("xtask nonsense").is_some());
        assert!(problem("run -p wal-y").is_some());
        assert!(problem("run -p wal-x --example none").is_some());
    }

    #[test]
    fn a_flag_that_the_tool_does_not_know_is_told() {
        let text = "Commands:\n  list  x\n  help  y\n\nOptions:\n      --json";
        assert_eq!(subcommands(text), ["list"]);
        let help =
            Help(BTreeMap::from([("stat".to_owned(), "      --json   x\n      --from <A>".to_owned())]));
        assert_eq!(help.problem(&["stat", "DIR", "[--json]", "--from=3"]), None);
        assert!(help.problem(&["stat", "--jso"]).is_some());
        assert!(help.problem(&["stats"]).is_some());
    }
}
