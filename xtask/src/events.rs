//! Events and the table of them: whoever gets a line in a log looks for it in the document.

/// Each event in the sources has a row in the document, with its level; and each row an event.
pub(crate) fn check(document: &str, text: &str, sources: &[String]) -> Vec<String> {
    let listed: Vec<(&str, &str)> = text.lines().filter_map(row).collect();
    let mut made: Vec<(&str, &str)> = sources.iter().flat_map(|source| events(source)).collect();
    made.sort_unstable();
    made.dedup();
    let mut problems = Vec::new();
    for (level, message) in made.iter().filter(|event| !listed.contains(event)) {
        problems.push(format!("{document}: no row for the event {level} `{message}`"));
    }
    for (level, message) in listed.iter().filter(|event| !made.contains(event)) {
        problems.push(format!("{document}: nothing makes the event {level} `{message}`"));
    }
    problems
}

/// A row `| error | `message` | ...`.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| ")?.split(" | ");
    let level = cells.next().filter(|level| LEVELS.contains(level))?;
    Some((level, cells.next()?.strip_prefix('`')?.strip_suffix('`')?))
}

/// The level and the message of each event that the source makes.
fn events(source: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (level, call) in LEVELS.iter().flat_map(|level| calls(source, level).map(|call| (*level, call))) {
        // The message is the last text in the call.
        if let Some((rest, _)) = call.rsplit_once('"')
            && let Some((_, message)) = rest.rsplit_once('"')
        {
            found.push((level, message));
        }
    }
    found
}

/// What stands in the brackets of each call of that level.
fn calls<'a>(source: &'a str, level: &str) -> impl Iterator<Item = &'a str> {
    let call = format!("{CALL}{level}!(");
    let mut rest = source;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&call)?;
        rest = behind;
        let mut depth = 1;
        let end = behind.find(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        behind.get(..end?)
    })
}

const CALL: &str = "tracing::";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> String {
        // Written so that this file holds no event itself.
        format!("{CALL}warn!(%error, at = f(x), \"cannot\");\n{CALL}info!(\n    \"log opened\"\n);")
    }

    #[test]
    fn an_event_with_its_row_passes() {
        let table = "| warn | `cannot` | why |\n| info | `log opened` | when |";
        assert!(check("D", table, &[source()]).is_empty());
    }

    #[test]
    fn an_event_without_a_row_and_a_row_without_an_event_are_told() {
        let problems = check("D", "| warn | `cannot` | why |\n| info | `log shut` | when |", &[source()]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("log opened") && problems[1].contains("log shut"));
    }

    #[test]
    fn another_level_is_another_event() {
        let table = "| error | `cannot` | why |\n| info | `log opened` | when |";
        assert_eq!(check("D", table, &[source()]).len(), 2);
    }
}
