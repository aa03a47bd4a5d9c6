//! `wal diff`: in which items two logs differ, and where.

use std::io::{self, Write};

use serde_json::{Value, json};
use wal_engine::{Position, Verdict};

use crate::args::DiffArgs;
use crate::colour::{Colour, Tone};
use crate::diff::{self, Difference, Side, Summary};
use crate::exit::{self, Failure, Outcome};
use crate::item::{Counts, Item};
use crate::place::{self, Output};
use crate::table::Table;
use crate::{foreign, text};

/// Compares the logs and prints the differences as they are found, or one object.
pub(crate) fn run(args: &DiffArgs) -> Result<Outcome, Failure> {
    for dir in [&args.a, &args.b] {
        place::log_dir(dir)?;
        foreign::note_if_empty(dir);
    }
    let (a, b) = (args.a.canonicalize().ok(), args.b.canonicalize().ok());
    if a.is_some() && a == b {
        exit::warn(format_args!("{} and {} are the same directory", args.a.display(), args.b.display()));
    }
    let mut out = place::output()?;
    let summary = if args.json { json(args, &mut out)? } else { text(args, &mut out)? };
    out.flush().map_err(Failure::output)?;
    if summary.nameless != 0 {
        exit::warn(format_args!(
            "{} samples and deletes left out: no entry read before them names their series",
            summary.nameless
        ));
    }
    let whole = summary.verdict_a == Verdict::Clean && summary.verdict_b == Verdict::Clean;
    Ok(match summary.differences {
        0 if whole => Outcome::Done,
        0 => Outcome::LogAtFault,
        _ => Outcome::Differ,
    })
}

/// Prints one JSON object.
fn json(args: &DiffArgs, out: &mut Output) -> Result<Summary, Failure> {
    let mut shown: Vec<Value> = Vec::new();
    let summary = diff::compare(
        args,
        |item: Item<'_>| item.json(),
        |difference| {
            if shown.len() < args.show {
                let [a, b] = [side_json(difference.a)?, side_json(difference.b)?];
                shown.push(json!({ "a": a, "b": b }));
            }
            Ok(())
        },
    )?;
    let object = json!({
        "equal": summary.differences == 0,
        "a": { "dir": args.a.display().to_string(), "verdict": summary.verdict_a.to_string() },
        "b": { "dir": args.b.display().to_string(), "verdict": summary.verdict_b.to_string() },
        "both": counts_json(summary.both),
        "only_a": counts_json(summary.only_a),
        "only_b": counts_json(summary.only_b),
        "differences": summary.differences,
        "shown": shown,
    });
    writeln!(out, "{object}").map_err(Failure::output)?;
    Ok(summary)
}

fn side_json(side: Side<io::Result<Value>>) -> Result<Value, Failure> {
    let first: Vec<Value> = side.first.into_iter().collect::<io::Result<_>>().map_err(Failure::output)?;
    Ok(json!({
        "segment": side.at.segment, "offset": side.at.offset, "items": counts_json(side.items), "first": first,
    }))
}

fn counts_json(counts: Counts) -> Value {
    json!({ "series": counts.series, "samples": counts.samples, "deletes": counts.deletes })
}

/// Prints the first differences and a table.
fn text(args: &DiffArgs, out: &mut Output) -> Result<Summary, Failure> {
    let colour = Colour::of(out.get_ref());
    let mut told = 0;
    let line = |item: Item<'_>| {
        let mut line = Vec::new();
        // Writing to memory does not fail.
        let _ = item.text(&mut line);
        String::from_utf8_lossy(&line).trim_end().to_owned()
    };
    let summary = diff::compare(args, line, |difference| {
        if told < args.show {
            told += 1;
            write_difference(&difference, colour, out).and_then(|()| out.flush()).map_err(Failure::output)?;
        }
        Ok(())
    })?;
    write_summary(args, &summary, told as u64, colour, out).map_err(Failure::output)?;
    Ok(summary)
}

fn write_difference(difference: &Difference<String>, colour: Colour, out: &mut Output) -> io::Result<()> {
    let place = |name: char, at: Position| format!("{name} {at}");
    writeln!(out, "{}, {}", place('A', difference.a.at), place('B', difference.b.at))?;
    for (sign, tone, side) in [('-', Tone::Bad, &difference.a), ('+', Tone::Good, &difference.b)] {
        for line in &side.first {
            writeln!(out, "{}", colour.paint(tone, format_args!("{sign} {line}")))?;
        }
        let more = side.items.all() - side.first.len() as u64;
        if more != 0 {
            writeln!(out, "{}", colour.paint(tone, format_args!("{sign} and {} more", text::count(more))))?;
        }
    }
    writeln!(out)
}

fn write_summary(
    args: &DiffArgs,
    summary: &Summary,
    told: u64,
    colour: Colour,
    out: &mut Output,
) -> io::Result<()> {
    let mut table = Table::new(1, &["", "series", "samples", "deletes", ""]);
    for (name, counts) in
        [("in both", summary.both), ("only in A", summary.only_a), ("only in B", summary.only_b)]
    {
        let cells = [counts.series, counts.samples, counts.deletes].map(text::count);
        table.row([name.to_owned()].into_iter().chain(cells).chain([String::new()]).collect());
    }
    table.write(out)?;
    writeln!(out)?;
    for (name, dir, verdict) in [("A", &args.a, summary.verdict_a), ("B", &args.b, summary.verdict_b)] {
        writeln!(out, "{name} is {}: {}", dir.display(), colour.verdict(verdict))?;
    }
    match summary.differences {
        0 if summary.verdict_a == Verdict::Clean && summary.verdict_b == Verdict::Clean => {
            writeln!(out, "{}", colour.paint(Tone::Good, "the logs hold the same"))
        }
        0 => writeln!(out, "{}", colour.paint(Tone::Warning, "what can be read of both is the same")),
        count => {
            let shown = if told < count { format!(", the first {told} shown above") } else { String::new() };
            let places = if count == 1 { "place" } else { "places" };
            let said = format!("the logs differ in {} {places}{shown}", text::count(count));
            writeln!(out, "{}", colour.paint(Tone::Bad, said))
        }
    }
}
