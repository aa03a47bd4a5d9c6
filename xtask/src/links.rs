//! Markdown links to files of this repository lead somewhere, and links to headings name one that exists.

/// One sentence for each relative link that leads nowhere; `exists` is asked about paths beside the document.
pub(crate) fn check(document: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let anchors = anchors(text);
    for (number, line) in prose(text) {
        for target in targets(&line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            if path.is_empty() {
                if !anchors.iter().any(|known| known == anchor) {
                    problems.push(format!("{document}:{number}: no heading #{anchor}"));
                }
            } else if !exists(path) {
                problems.push(format!("{document}:{number}: link to {path}, which does not exist"));
            }
        }
    }
    problems
}

/// Lines outside fences, with code in backticks taken out.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            lines.push((index + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("_")));
        }
    }
    lines
}

/// The targets of `[text](target)` and of `[name]: target`.
fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let rest = &line[at + 2..];
        if let Some(end) = rest.find(')') {
            // A title may follow the target.
            found.extend(rest[..end].split_whitespace().next().map(str::to_owned));
        }
    }
    if let Some((_, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        found.extend(rest.split_whitespace().next().map(str::to_owned));
    }
    found
}

/// Headings as GitHub spells their anchors.
fn anchors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        in_fence ^= line.trim_start().starts_with("```");
        if in_fence || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> usize {
        check("D.md", text, |path| path == "there.md").len()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        assert_eq!(
            problems(
                "# A Title\n[a](there.md) [b](there.md#part) [c](https://example.org/x) [d](#a-title)\n"
            ),
            0
        );
        assert_eq!(problems("[name]: there.md\n"), 0);
    }

    #[test]
    fn a_link_to_a_missing_file_is_reported_with_its_line() {
        let said = check("D.md", "fine\n[a](gone.md)\n", |_| false);
        assert_eq!(said, ["D.md:2: link to gone.md, which does not exist"]);
        assert_eq!(problems("[name]: gone.md\n"), 1);
    }

    #[test]
    fn a_link_to_a_missing_heading_is_reported() {
        assert_eq!(problems("# Title\n[a](#other)\n"), 1);
    }

    #[test]
    fn links_in_code_are_not_links() {
        assert_eq!(problems("`[a](gone.md)`\n```\n[a](gone.md)\n```\n"), 0);
    }
}
