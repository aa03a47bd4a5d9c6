//! Progress on standard error, drawn only where standard error is a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// A spinner that counts steps and bytes.
pub(crate) struct Progress {
    bar: ProgressBar,
    steps: u64,
    drawn: Instant,
    what: &'static str,
}

impl Progress {
    /// Starts to count `what` (in the plural: "entries", "lines").
    pub(crate) fn start(what: &'static str) -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner())
        } else {
            ProgressBar::hidden()
        };
        Self { bar, steps: 0, drawn: Instant::now(), what }
    }

    /// One more step; `bytes` is the whole of the bytes done so far.
    pub(crate) fn step(&mut self, bytes: u64) {
        self.steps += 1;
        // Away from a terminal a step costs one comparison: a log holds millions of entries.
        if !self.bar.is_hidden() && self.drawn.elapsed() >= DRAWING_INTERVAL {
            self.drawn = Instant::now();
            self.bar.set_message(format!("{} {}, {}", HumanCount(self.steps), self.what, HumanBytes(bytes)));
            self.bar.tick();
        }
    }

    /// Runs `say` with the spinner out of the way.
    pub(crate) fn aside(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const DRAWING_INTERVAL: Duration = Duration::from_millis(100);
