//! Colour for the few words that matter: verdicts, what is wrong, and what is only in one of two logs. Only where a
//! terminal shows it and nobody asked for none.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal};

use wal_engine::Verdict;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All is well, or something was added.
    Good,
    /// Worth a look.
    Warning,
    /// Something is wrong, or missing.
    Bad,
}

/// Whether one stream gets colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colour {
    on: bool,
}

impl Colour {
    /// What the environment and the stream itself say.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
        Self { on: wanted(stream.is_terminal(), no_color.as_deref(), term.as_deref()) }
    }

    /// For messages.
    pub(crate) fn stderr() -> Self {
        Self::of(&io::stderr())
    }

    /// `text` in the colour of a tone.
    pub(crate) fn paint(self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
        };
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// A verdict in its colour.
    pub(crate) fn verdict(self, verdict: Verdict) -> String {
        let tone = match verdict {
            Verdict::Clean => Tone::Good,
            Verdict::Torn => Tone::Warning,
            Verdict::Damaged | Verdict::Unsupported => Tone::Bad,
        };
        self.paint(tone, verdict)
    }
}

/// Colours need a terminal that knows them, and a user who has not asked for none (<https://no-color.org>: an empty
/// variable asks for nothing).
fn wanted(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_has_them_and_nobody_who_wants_none() {
        let wanted = |terminal, no_color: Option<&str>, term: Option<&str>| {
            super::wanted(terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(wanted(true, None, Some("xterm")));
        assert!(wanted(true, Some(""), Some("xterm")));
        assert!(!wanted(false, None, Some("xterm")), "no terminal");
        assert!(
            !wanted(true, Some("1"), Some("xterm")) && !wanted(true, Some("0"), Some("xterm")),
            "NO_COLOR"
        );
        assert!(
            !wanted(true, None, Some("dumb")) && !wanted(true, None, Some("")) && !wanted(true, None, None)
        );
    }

    #[test]
    fn a_verdict_without_colours_is_the_word_alone() {
        assert_eq!(Colour { on: false }.verdict(Verdict::Torn), "torn");
        assert_eq!(Colour { on: true }.verdict(Verdict::Torn), "\u{1b}[33mtorn\u{1b}[0m");
    }
}
