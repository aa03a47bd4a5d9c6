//! Repair destroys nothing: whatever it takes out of the log is durable in quarantine first.

use wal_segment::dir::segment_number;
use wal_sim::Disk;

/// Compares the segments before a recovery with what is durable after it.
pub fn kept_what_it_cut(before: &Disk, after: &Disk) -> Result<(), String> {
    // A truncation that recovery finishes drops what nobody needs, on purpose.
    if before.contents("intent").is_some_and(|intent| intent.first().is_some_and(|byte| *byte != 0)) {
        return Ok(());
    }
    for (name, _) in before.list() {
        let Some(number) = segment_number(name) else { continue };
        if before.file_fingerprint(name) == after.file_fingerprint(name) {
            continue;
        }
        let old = before.contents(name).unwrap_or_default();
        let new = after.contents(name).unwrap_or_default();
        let stays = old.len().min(new.len());
        let cut = &old[stays..];
        if old[..stays] == new[..stays] && cut.iter().all(|byte| *byte == 0) {
            continue;
        }
        let is_kept = after.list().any(|(kept, _)| {
            let Some(place) = kept.strip_prefix("quarantine/").and_then(|name| name.strip_suffix(".cut"))
            else {
                return false;
            };
            let mut numbers = place.split('-').skip(1).map(|part| part.parse::<usize>().unwrap());
            let (segment, offset) = (numbers.next().unwrap(), numbers.next().unwrap());
            segment as u64 == number
                && (offset == 0 || offset == new.len())
                && after.contents(kept).as_deref() == old.get(offset..)
        });
        if !is_kept {
            return Err(format!(
                "silently cut: {} bytes of {name} are gone, and not in quarantine",
                cut.len()
            ));
        }
    }
    Ok(())
}
