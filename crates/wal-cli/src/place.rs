//! The places a command works on: the log directory, its segment files, and standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::Failure;
use crate::foreign;

/// Standard output through one large buffer.
///
/// [`io::Stdout`] looks for line ends in every write; the descriptor itself does not, which matters to
/// `dump`. Whoever writes here flushes before it returns: a drop would swallow the error.
pub(crate) type Output = BufWriter<File>;

/// Opens standard output. Fails only when no further descriptor can be had.
pub(crate) fn output() -> Result<Output, Failure> {
    let stdout = io::stdout();
    let descriptor = stdout.as_fd().try_clone_to_owned().map_err(Failure::output)?;
    Ok(BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, File::from(descriptor)))
}

/// Whether whoever read this output has closed the pipe. Does not block.
pub(crate) fn is_closed(output: &File) -> bool {
    // Errors are told whatever is asked for.
    let mut asked = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let gone = |told: PollFlags| told.contains(PollFlags::POLLERR);
    poll(&mut asked, PollTimeout::ZERO).is_ok() && asked.iter().any(|fd| fd.revents().is_some_and(gone))
}

/// Prints a report in one go; that nobody reads it to its end changes nothing about what it reports.
pub(crate) fn print(write: impl FnOnce(&mut Output) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = output()?;
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::output(error)),
        _ => Ok(()),
    }
}

/// Checks that `dir` is a directory, so that a command which may not create one says so plainly.
pub(crate) fn existing_dir(dir: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(dir).map_err(|error| Failure::file(dir, &error))?;
    if metadata.is_dir() { Ok(()) } else { Err(not_a_directory(dir)) }
}

/// Checks that `dir` is a directory and holds no other program's log: nothing to read or to repair here.
pub(crate) fn log_dir(dir: &Path) -> Result<(), Failure> {
    existing_dir(dir)?;
    foreign::refuse(dir)
}

/// Checks that `dir` is a directory or is not there yet.
pub(crate) fn creatable_dir(dir: &Path) -> Result<(), Failure> {
    match fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(not_a_directory(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::file(dir, &error)),
    }
}

/// Checks that `dir` is absent or an empty directory.
pub(crate) fn fresh_dir(dir: &Path) -> Result<(), Failure> {
    creatable_dir(dir)?;
    let mut names = match fs::read_dir(dir) {
        Ok(names) => names,
        // A signal is none of the command's business.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return fresh_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::file(dir, &error)),
    };
    if names.next().is_none() {
        return Ok(());
    }
    Err(Failure::bad_input(format_args!(
        "{}: not empty\n  next: name a directory that is empty or not there yet",
        dir.display()
    )))
}

/// Checks that `to`, which is to be written, does not lie within `dir`, in which nothing may change.
pub(crate) fn apart(dir: &Path, to: &Path) -> Result<(), Failure> {
    let whole = |path: &Path| path.canonicalize().ok();
    let above =
        to.ancestors().skip(1).map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    // The nearest that exists decides: `to` itself may not be there yet.
    let nearest = whole(to).or_else(|| above.into_iter().find_map(whole));
    match (whole(dir), nearest) {
        (Some(dir), Some(nearest)) if nearest.starts_with(&dir) => Err(Failure::bad_input(format_args!(
            "{}: lies within {}\n  next: name a directory beside it",
            to.display(),
            dir.display()
        ))),
        _ => Ok(()),
    }
}

/// The file of a segment for messages: the name found in `dir`, else the name it would have.
pub(crate) fn segment_file(dir: &Path, segment: u64) -> PathBuf {
    let usual = dir.join(format!("{segment:06}"));
    if usual.symlink_metadata().is_ok() {
        return usual;
    }
    // The name may have fewer or more leading zeros than we write ourselves.
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names {
        let Some(digits) = name.to_str() else { continue };
        if digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() == Ok(segment) {
            return dir.join(name);
        }
    }
    usual
}

/// The error for a path that is something else than a directory.
fn not_a_directory(path: &Path) -> Failure {
    let is_segment = path
        .file_name()
        .is_some_and(|name| !name.is_empty() && name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let dir = match path.parent() {
        Some(dir) if is_segment && dir.as_os_str().is_empty() => ": .".to_owned(),
        Some(dir) if is_segment => format!(": {}", dir.display()),
        _ => String::new(),
    };
    Failure::bad_input(format_args!(
        "{}: not a directory\n  next: name the directory that holds the segment files{dir}",
        path.display()
    ))
}

const OUTPUT_BUFFER_BYTES: usize = 64 * 1024;
