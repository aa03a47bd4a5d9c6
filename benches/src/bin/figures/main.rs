//! One table: what the log does, beside what the reference and bare loops do on the same work.
//!
//! Rounds are interleaved, because the machine changes under them: what is slow for a second is slow for all that stand
//! in one ratio. Memory is that of fresh processes. Nothing fails for being slow.
#![allow(clippy::print_stdout, reason = "it prints a table")]

mod append;
mod commit;
mod floor;
mod growth;
mod machine;
mod memory;
mod reading;
mod replay;
mod run;
mod table;
mod threads;
mod truncate;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::run::{Answer, FULL, Row, Run, SMOKE};
use crate::table::Goal;

/// The rows in the order of the table, and what measures each.
const ROWS: [Row; 9] = [
    Row { letter: 'B', measure: append::series },
    Row { letter: 'C', measure: threads::threads },
    Row { letter: 'E', measure: commit::rotation },
    Row { letter: 'F', measure: replay::samples },
    Row { letter: 'G', measure: replay::series },
    Row { letter: 'H', measure: reading::little },
    Row { letter: 'I', measure: truncate::series },
    Row { letter: 'J', measure: memory::peaks },
    Row { letter: 'K', measure: growth::growth },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((word, rest)) if word == memory::CHILD => {
            memory::be_child(&rest.iter().map(String::as_str).collect::<Vec<_>>())
        }
        _ => figures(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("figures: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole table, or the rows of it that are asked for.
fn figures(words: &[String]) -> Answer<()> {
    let mut run = Run { size: &FULL, dir: std::env::temp_dir(), journal: None, rounds: FULL.rounds };
    let mut rows: Vec<char> = ROWS.iter().map(|row| row.letter).collect();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{word} takes a value\n{USAGE}"));
        match word.as_str() {
            "--dir" => run.dir = PathBuf::from(value()?),
            "--journal" => run.journal = Some(PathBuf::from(value()?)),
            "--rounds" => run.rounds = value()?.parse::<usize>()?.max(1),
            "--rows" => rows = letters(value()?)?,
            "--smoke" => (run.size, run.rounds) = (&SMOKE, SMOKE.rounds),
            _ => return Err(format!("{word} is unknown\n{USAGE}").into()),
        }
    }
    println!("{}\n", machine::facts(&run.dir, run.journal.as_deref(), words));
    println!("{}", table::HEAD);
    for row in ROWS.iter().filter(|row| rows.contains(&row.letter)) {
        for mut line in (row.measure)(&run)? {
            if !run.size.judged {
                line.goal = Goal::None;
            }
            println!("{}", line.markdown(row.letter));
        }
    }
    Ok(())
}

fn letters(text: &str) -> Answer<Vec<char>> {
    let known = |letter: char| ROWS.iter().any(|row| row.letter == letter);
    let letter = |part: &str| part.parse::<char>().ok().filter(|letter| known(*letter));
    let found = text.split(',').map(|part| letter(part).ok_or_else(|| format!("there is no row {part}")));
    Ok(found.collect::<Result<_, _>>()?)
}

const USAGE: &str = "figures [--dir DIR] [--journal DIR] [--rows B,C,...] [--rounds N] [--smoke]
  --dir      where logs are written; the temporary directory by default
  --journal  a directory on ext4 with a journal, for row E; without it row E is measured in DIR
  --smoke    everything once, small: whether it works, not how fast it is";
