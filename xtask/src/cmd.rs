//! Runs other programs, with messages that name the command line and, for a missing tool, how to get it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// The cargo that runs us, in the given directory, without what it told us about our own package:
/// that would make build scripts of others run again.
pub(crate) fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(dir).stdin(Stdio::null());
    command
}

/// What one command may take. Longer than anything here needs: it ends what hangs, a deadlock in a test
/// above all, before it takes the rest of the run with it.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(20 * 60);

/// Runs to the end, or to the end of its time, with its output going to ours.
pub(crate) fn run(command: &mut Command) -> Outcome {
    run_within(command, COMMAND_TIME_MAX)
}

/// The same with another limit, for what is asked to take long.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Outcome {
    println!("    $ {}", line(command));
    let mut child = command.spawn().map_err(|e| not_started(command, &e))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().map_err(|e| not_started(command, &e))? {
            Some(status) => break status,
            None if deadline <= Instant::now() => {
                // Its own children end when they find their pipes closed, or with the machine.
                let _ = child.kill();
                let _ = child.wait();
                let minutes = limit.as_secs() / 60;
                return Err(format!("`{}` was ended after {minutes} minutes", line(command)));
            }
            None => std::thread::park_timeout(Duration::from_millis(20)),
        }
    };
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", line(command))) }
}

/// Runs to the end and returns its standard output; standard error goes to ours.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let done = command.stderr(Stdio::inherit()).output().map_err(|e| not_started(command, &e))?;
    if !done.status.success() {
        return Err(format!("`{}` failed: {}", line(command), done.status));
    }
    String::from_utf8(done.stdout)
        .map_err(|_| format!("`{}` printed bytes that are not UTF-8", line(command)))
}

/// What a program answered: its exit code and both outputs.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs to the end and returns everything, whatever the exit code; a death by signal is an error.
pub(crate) fn answer(command: &mut Command) -> Result<Answer, String> {
    answer_to(command.stdin(Stdio::null()))
}

/// The same with the standard input that the command was given.
pub(crate) fn answer_to(command: &mut Command) -> Result<Answer, String> {
    let done = command.output().map_err(|e| not_started(command, &e))?;
    let code = done.status.code().ok_or_else(|| format!("`{}` died: {}", line(command), done.status))?;
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| format!("`{}` printed bytes that are not UTF-8", line(command)))
    };
    Ok(Answer { code, stdout: text(done.stdout)?, stderr: text(done.stderr)? })
}

/// Fails, naming the tool and the way to install it, unless `tool` starts.
pub(crate) fn need(tool: &str, probe: &str, install: &str) -> Outcome {
    let started = Command::new(tool)
        .arg(probe)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match started {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("`{tool}` cannot be run ({e}); install it: {install}")),
    }
}

/// The command as one would type it, for messages.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text += &arg.to_string_lossy();
    }
    text
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` cannot be started: {error}", line(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_the_way_to_install_it() {
        let said = need("no-such-tool-anywhere", "--version", "apt-get install it").unwrap_err();
        assert!(said.contains("no-such-tool-anywhere") && said.contains("apt-get install it"), "{said}");
    }

    #[test]
    fn a_failing_command_is_reported_with_its_line() {
        let said = run(Command::new("false").arg("an-argument")).unwrap_err();
        assert!(said.contains("false an-argument"), "{said}");
    }
}
