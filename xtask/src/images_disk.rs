//! A real file system on a disk that writes down what reaches it, and what the log on it was known to hold meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;
use crate::crash_oracle::{self, Oracle};
use crate::disks_mount::{self, Kind, quiet};

/// The recorder, its disk on a loop device, and the file system on that.
pub(crate) struct Recorded {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    device: Option<String>,
    /// Where the file system is mounted.
    pub(crate) at: PathBuf,
    /// What was known of the log after so many events.
    pub(crate) known: Vec<(usize, Oracle)>,
}

impl Recorded {
    /// A fresh file system; the record begins when it is mounted.
    pub(crate) fn make(recorder: &Path, home: &Path, kind: Kind) -> Result<Self, String> {
        let (fuse, at) = (home.join("fuse"), home.join("recorded"));
        for dir in [&fuse, &at] {
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let mut command = Command::new(recorder);
        command.arg(&fuse).arg(kind.bytes().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", recorder.display()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output of the recorder")?);
        let mut recorded = Self { child, input, output, device: None, at, known: Vec::new() };
        recorded.answer("ready")?;
        let disk = fuse.join("disk");
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show", "--direct-io=on"]).arg(&disk);
        let device = quiet(&mut attach)?.trim().to_owned();
        recorded.device = Some(device.clone());
        let (program, args) = kind.mkfs().split_first().ok_or("no mkfs")?;
        quiet(Command::new(program).args(args).args(kind.mkfs_at_once()).arg(&device))?;
        quiet(Command::new("mount").args(["-t", kind.name(), &device]).arg(&recorded.at))?;
        disks_mount::sync(&recorded.at)?;
        recorded.ask("start")?;
        Ok(recorded)
    }

    fn answer(&mut self, wanted: &str) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| format!("the recorder: {e}"))?;
        let line = line.trim_end();
        if line.is_empty() || line.starts_with("error") || (!wanted.is_empty() && line != wanted) {
            return Err(format!("the recorder says {line:?}"));
        }
        Ok(line.to_owned())
    }

    /// One line to the recorder, one line back.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, String> {
        let input = self.input.as_mut().ok_or("the recorder has ended")?;
        writeln!(input, "{line}").map_err(|e| format!("the recorder: {e}"))?;
        self.answer("")
    }

    /// How many events there are by now.
    pub(crate) fn note(&mut self) -> Result<usize, String> {
        self.ask("note")?.parse().map_err(|e| format!("the recorder's note: {e}"))
    }

    /// From now on this is known.
    pub(crate) fn know(&mut self, oracle: &Oracle) -> Outcome {
        let note = self.note()?;
        self.known.push((note, oracle.clone()));
        Ok(())
    }

    /// What was known after the first `point` events.
    pub(crate) fn known_at(&self, point: usize) -> Oracle {
        let known = self.known.iter().rev().find(|(note, _)| *note <= point);
        known.map(|(_, oracle)| oracle.clone()).unwrap_or_default()
    }

    /// Feeds a writer batch by batch; each is acknowledged before the next one comes, so what was recorded when an
    /// acknowledgement was read is all that the acknowledgement can rest on. Stops when the writer does; returns its
    /// exit code and what it said.
    pub(crate) fn feed(
        &mut self,
        mut command: Command,
        oracle: &mut Oracle,
        batches: u64,
        mut before: impl FnMut(&mut Self, u64) -> Outcome,
    ) -> Result<(i32, String), String> {
        let first = oracle.last();
        oracle.life += 1;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("the tool does not start: {e}"))?;
        let talked = (|| {
            let mut input = child.stdin.take().ok_or("no input of the tool")?;
            let mut output = BufReader::new(child.stdout.take().ok_or("no output of the tool")?);
            for batch in 0..batches {
                before(self, batch)?;
                let from = first + batch * BATCH_LINES + 1;
                oracle.fed = from - 1 + BATCH_LINES;
                self.know(oracle)?;
                let text = crash_oracle::lines(from, BATCH_LINES, oracle.life).concat();
                // One that ended early reads no more; why it did, its exit code says.
                let _ = input.write_all(text.as_bytes());
                let mut said = String::new();
                if output.read_line(&mut said).map_err(|e| format!("the tool's output: {e}"))? == 0 {
                    break;
                }
                oracle.acked = first + crash_oracle::acked(&said);
                self.know(oracle)?;
            }
            Ok(())
        })();
        if talked.is_err() {
            let _ = child.kill();
        }
        let done = child.wait_with_output().map_err(|e| format!("the tool: {e}"))?;
        talked.map_err(|why: String| why)?;
        Ok((done.status.code().unwrap_or(-1), String::from_utf8_lossy(&done.stderr).into_owned()))
    }

    /// Takes the file system down. The record stays.
    pub(crate) fn unmount(&mut self) -> Outcome {
        if let Some(device) = self.device.take() {
            let unmounted = quiet(Command::new("umount").arg(&self.at));
            quiet(Command::new("losetup").args(["--detach", &device]))?;
            unmounted?;
        }
        Ok(())
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // In this order: the recorder serves the disk until nobody uses it. Nobody is left to hear of a failure.
        let _ = self.unmount();
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Lines that are acknowledged together.
pub(crate) const BATCH_LINES: u64 = 8;
