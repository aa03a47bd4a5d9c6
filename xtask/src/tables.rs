//! Documents whose rows are promises: each row of each table names, in its last column, tests that exist.

use std::collections::BTreeMap;

/// One sentence for each row that names no test, or one that is not there.
pub(crate) fn check(document: &str, text: &str, sources: &[String]) -> Vec<String> {
    let functions = functions(sources);
    let mut problems = Vec::new();
    let mut rows = 0;
    for (number, cells) in rows_of(text) {
        rows += 1;
        let names = test_names(cells.last().map_or("", String::as_str));
        if names.is_empty() {
            problems.push(format!("{document}:{number}: the row names no test in its last column"));
        }
        for name in names {
            match functions.get(name.as_str()) {
                Some(true) => {}
                Some(false) => problems.push(format!("{document}:{number}: `{name}` exists but is no test")),
                None => problems.push(format!("{document}:{number}: there is no test `{name}`")),
            }
        }
    }
    if rows == 0 {
        problems.push(format!("{document}: it has no table"));
    }
    problems
}

/// The rows below the rule line of each table, with the number of their line.
fn rows_of(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    let mut in_body = false;
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        in_fence ^= line.starts_with("```");
        if in_fence || !line.starts_with('|') {
            in_body = false;
            continue;
        }
        let cells = cells(line);
        if cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':')) {
            in_body = true;
        } else if in_body {
            rows.push((index + 1, cells));
        }
    }
    rows
}

/// The cells of one row; `\|` is a bar of the text.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in inner.chars() {
        if c == '|' && !escaped {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// Function names in backticks; a path counts by its last part. Other text in backticks is not a name.
fn test_names(cell: &str) -> Vec<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    quoted
        .filter_map(|text| text.rsplit("::").next())
        .filter(|name| name.contains('_') && name.chars().all(word))
        .map(str::to_owned)
        .collect()
}

/// Every function of the sources, and whether it is marked as a test.
fn functions(sources: &[String]) -> BTreeMap<&str, bool> {
    let mut found = BTreeMap::new();
    for text in sources {
        let mut marked = false;
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with("#[") && line.ends_with("test]") {
                marked = true;
            } else if let Some(name) = function_name(line) {
                // A helper may share its name with a test elsewhere; the test decides.
                *found.entry(name).or_insert(false) |= marked;
                marked = false;
            }
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub ", "pub(crate) ", "const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
| promise | test |
|---|:--|
| holds | `tail_is_cut` and `module::it_is_kept` |
";

    fn sources() -> Vec<String> {
        let text =
            "#[test]\nfn tail_is_cut() {}\n    #[test]\n    fn it_is_kept() {}\nfn no_such_thing() {}\n";
        vec![text.to_owned()]
    }

    #[test]
    fn rows_that_name_existing_tests_pass() {
        assert_eq!(check("D.md", TABLE, &sources()), [""; 0]);
    }

    #[test]
    fn a_row_without_a_test_is_reported_with_its_line() {
        let text = TABLE.replace('`', "");
        assert_eq!(check("D.md", &text, &sources()), ["D.md:3: the row names no test in its last column"]);
    }

    #[test]
    fn a_test_named_in_another_column_does_not_count() {
        let text = "| a | b |\n|---|---|\n| `tail_is_cut` | later |\n";
        assert_eq!(check("D.md", text, &sources()).len(), 1);
    }

    #[test]
    fn a_test_that_does_not_exist_is_reported() {
        let text = TABLE.replace("tail_is_cut", "tail_is_lost");
        assert_eq!(check("D.md", &text, &sources()), ["D.md:3: there is no test `tail_is_lost`"]);
    }

    #[test]
    fn a_function_that_is_no_test_is_reported() {
        let text = TABLE.replace("tail_is_cut", "no_such_thing");
        assert_eq!(check("D.md", &text, &sources()).len(), 1);
    }

    #[test]
    fn a_document_without_a_table_is_reported() {
        assert_eq!(check("D.md", "only words\n", &sources()), ["D.md: it has no table"]);
    }

    #[test]
    fn an_escaped_bar_does_not_end_a_cell() {
        assert_eq!(cells(r"| a \| b | c |"), [r"a \| b", "c"]);
    }
}
