//! Series selectors as PromQL writes them: `up{job="node",instance=~"db.*",mode!="idle"}`.
//!
//! A label that a series has not counts as empty, and a regular expression has to match the whole value.

use std::str::FromStr;

use regex::bytes::Regex;

/// Which series are meant.
#[derive(Debug, Clone)]
pub(crate) struct Selector(Vec<Matcher>);

/// What one label has to be, or not to be.
#[derive(Debug, Clone)]
struct Matcher {
    name: Vec<u8>,
    /// Whether the label has to be this, or anything else.
    equal: bool,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Text(Vec<u8>),
    Pattern(Regex),
}

impl Selector {
    /// Whether a series with these labels is meant; `value` finds the value of a label.
    pub(crate) fn admits<'a>(&self, value: impl Fn(&[u8]) -> Option<&'a [u8]>) -> bool {
        self.0.iter().all(|matcher| {
            let value = value(&matcher.name).unwrap_or_default();
            let same = match &matcher.what {
                What::Text(text) => value == text,
                What::Pattern(pattern) => pattern.is_match(value),
            };
            same == matcher.equal
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = Rest(text);
        let mut matchers = Vec::new();
        if let Some(metric) = rest.name(true) {
            matchers.push(Matcher::metric(metric.as_bytes().to_vec()));
        }
        if rest.eat("{") {
            while !rest.eat("}") {
                matchers.push(rest.matcher()?);
                if !rest.eat(",") && !rest.ahead("}") {
                    return Err(rest.expected("`,` or `}`"));
                }
            }
        } else if matchers.is_empty() {
            return Err(rest.expected("a metric's name or `{`"));
        }
        rest.0 = rest.0.trim_start();
        if !rest.0.is_empty() {
            return Err(rest.expected("the end"));
        }
        Ok(Self(matchers))
    }
}

impl Matcher {
    fn metric(name: Vec<u8>) -> Self {
        Self { name: b"__name__".to_vec(), equal: true, what: What::Text(name) }
    }
}

/// What is left to parse.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// One matcher: a label, an operator and a quoted value; or a metric's name in quotes.
    fn matcher(&mut self) -> Result<Matcher, String> {
        let name = match self.name(false) {
            Some(name) => name.as_bytes().to_vec(),
            None => match self.quoted()? {
                Some(name) if self.ahead(",") || self.ahead("}") => return Ok(Matcher::metric(name)),
                Some(name) => name,
                None => return Err(self.expected("a label's name")),
            },
        };
        let operators = [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)];
        let Some((_, equal, pattern)) = operators.into_iter().find(|(sign, ..)| self.eat(sign)) else {
            return Err(self.expected("`=`, `!=`, `=~` or `!~`"));
        };
        let Some(value) = self.quoted()? else { return Err(self.expected("a value in quotes")) };
        let what = if pattern { What::Pattern(whole(value)?) } else { What::Text(value) };
        Ok(Matcher { name, equal, what })
    }

    /// A name without quotes; that of a metric may have colons.
    fn name(&mut self, metric: bool) -> Option<&'a str> {
        self.0 = self.0.trim_start();
        let part = |at: usize, c: char| {
            c.is_ascii_alphabetic() || c == '_' || (metric && c == ':') || (at != 0 && c.is_ascii_digit())
        };
        let end = self.0.char_indices().find(|&(at, c)| !part(at, c)).map_or(self.0.len(), |(at, _)| at);
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        (!name.is_empty()).then_some(name)
    }

    /// A text in double, single or back quotes; only back quotes leave backslashes alone.
    fn quoted(&mut self) -> Result<Option<Vec<u8>>, String> {
        self.0 = self.0.trim_start();
        let Some(quote) = self.0.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else {
            return Ok(None);
        };
        let mut text = String::new();
        let mut chars = self.0.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.0 = self.0.get(at + 1..).unwrap_or_default();
                    return Ok(Some(text.into_bytes()));
                }
                '\\' if quote != '`' => text.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, c @ ('\\' | '"' | '\''))) => c,
                    _ => return Err(self.expected("\\n, \\t, \\r, \\\\, \\\" or \\' behind a backslash")),
                }),
                c => text.push(c),
            }
        }
        Err(self.expected("a quote at the end of the value"))
    }

    /// Whether `sign` comes next.
    fn ahead(&mut self, sign: &str) -> bool {
        self.0 = self.0.trim_start();
        self.0.starts_with(sign)
    }

    /// Takes `sign`, if it comes next.
    fn eat(&mut self, sign: &str) -> bool {
        let ahead = self.ahead(sign);
        if ahead {
            self.0 = self.0.get(sign.len()..).unwrap_or_default();
        }
        ahead
    }

    fn expected(&self, what: &str) -> String {
        let at = if self.0.is_empty() { "at the end".to_owned() } else { format!("at `{}`", self.0) };
        format!("{what} expected {at}; write it as PromQL does, such as up{{job=\"node\",mode!~\"a|b\"}}")
    }
}

/// A pattern that has to match all of a value.
fn whole(pattern: Vec<u8>) -> Result<Regex, String> {
    let pattern = String::from_utf8(pattern).map_err(|error| error.to_string())?;
    // Alone first: `a)|(b` must not become one by what is put around it.
    Regex::new(&pattern)
        .and_then(|_| Regex::new(&format!("^(?s:{pattern})$")))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::Selector;
    use wal_types::Labels;

    #[track_caller]
    fn admits(selector: &str) -> bool {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "node"), ("text", "a\"b\\c\nd")]);
        selector.parse::<Selector>().unwrap().admits(|name| labels.get(name))
    }

    #[test]
    fn matchers_mean_what_they_mean_in_promql() {
        for yes in [
            "up",
            "up{}",
            "{}",
            r#"{job="node"}"#,
            r#" up { job = "node" , } "#,
            r#"{job!="other",job=~"n.*",job!~"x|y"}"#,
            r#"{"up",job='node'}"#,
            r#"{"job"="node"}"#,
            r#"{absent=""}"#,
            r#"{absent!="x"}"#,
            r#"{absent=~".*"}"#,
            r#"{text="a\"b\\c\nd"}"#,
            "{text=~`a\"b\\\\c.d`}",
        ] {
            assert!(admits(yes), "{yes}");
        }
        for no in [
            "down",
            r#"up{job="nod"}"#,
            r#"{job=~"nod"}"#,
            r#"{job=~"x|nod"}"#,
            r#"{job!~"no.e"}"#,
            r#"{job=""}"#,
            r#"{absent!=""}"#,
            r#"{absent=~".+"}"#,
            r#"{job="node",absent="x"}"#,
        ] {
            assert!(!admits(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_selector_is_told_with_its_place() {
        for (wrong, part) in [
            ("", "a metric's name or `{`"),
            ("{job}", "`=`"),
            ("{job=node}", "in quotes expected at `node}`"),
            (r#"{job="node""#, "`,` or `}` expected at the end"),
            (r#"{job="node}"#, "a quote"),
            (r#"{job=~"("}"#, "unclosed group"),
            (r#"up{job="x"} 5"#, "the end expected at `5`"),
            (r#"{job="\x"}"#, "behind a backslash"),
            (r#"{="x"}"#, "a label's name"),
        ] {
            let said = wrong.parse::<Selector>().unwrap_err();
            assert!(said.contains(part), "{wrong}: {said}");
        }
    }

    #[test]
    fn an_expression_cannot_break_out_of_being_whole() {
        assert!("{job=~\"a)|(b\"}".parse::<Selector>().is_err());
    }
}
