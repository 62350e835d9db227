//! Looks after the end of the log of commits that is written to.
//!
//! The library cuts off what it cannot read there. After a crash that is the commit that was under way, which nobody was
//! told of. If there are whole commits in what it cut off, the log was damaged, and what was accepted would be gone without
//! a word: it is put back and the store refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A commit ends with this byte, a checksum of eight and these four.
const END: u8 = 3;
const MAGIC: &[u8] = b"FJL\x03";
const CHECKSUM: usize = 8;

/// The log as it was before the library has opened it.
pub(super) struct Tail {
    log: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl Tail {
    /// Reads the last log of a folder, if there is one.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let log = last_log(folder)?;
        let mut bytes = Vec::new();
        if let Some(path) = &log {
            File::open(path)?.read_to_end(&mut bytes)?;
        }
        // Room that was reserved and not written to.
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(written);
        Ok(Self { log, bytes })
    }

    /// Returns what the library has cut off, if it was more than a commit under way.
    pub(super) fn cut_off(&self) -> io::Result<Option<&[u8]>> {
        let Some(path) = &self.log else { return Ok(None) };
        let left = match std::fs::metadata(path) {
            Ok(about) => usize::try_from(about.len()).unwrap_or(usize::MAX),
            // It was not needed any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.bytes.get(left..).filter(|cut| holds_commit(cut)))
    }

    /// Puts it back.
    pub(super) fn restore(&self, cut: &[u8]) -> io::Result<()> {
        let Some(path) = &self.log else { return Ok(()) };
        let mut log = OpenOptions::new().write(true).open(path)?;
        log.seek(SeekFrom::Start((self.bytes.len() - cut.len()) as u64))?;
        log.write_all(cut)?;
        log.sync_all()
    }
}

fn holds_commit(cut: &[u8]) -> bool {
    let ends = cut.windows(1 + CHECKSUM + MAGIC.len());
    ends.into_iter().any(|end| end.first() == Some(&END) && end.ends_with(MAGIC))
}

/// Logs are numbered, and the highest is written to.
fn last_log(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut last = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = name.and_then(|name| name.parse::<u64>().ok()) {
            last = last.max(Some((number, path)));
        }
    }
    Ok(last.map(|(_, path)| path))
}
