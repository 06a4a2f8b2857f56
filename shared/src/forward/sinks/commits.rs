//! Which lines of a directory count: the sidecar file `.commits`, an entry of 32 bytes a line.
//!
//! Entry, little-endian: day number (i32 of the Julian day; `i32::MIN` for undated), end of the line in its day's
//! file (u64), the event's key (u128; 0 where a file was begun anew), CRC-32 of those 28 bytes (u32). A kill can only tear the last entries; a bad
//! one before a good one is damage, and the directory is refused.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use time::Date;

use crate::audit::Day;

const ENTRY: usize = 32;
const NAME: &str = ".commits";

/// A line that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) day: Day,
    /// Where the line ends in its day's file.
    pub(super) end: u64,
    pub(super) key: u128,
}

#[derive(Debug)]
pub(super) struct Commits {
    path: PathBuf,
    file: File,
    length: u64,
    /// Entries beyond which the file is written anew, with what is still remembered.
    compact_at: u64,
    keep: usize,
}

impl Commits {
    /// Whether a directory has a sidecar.
    pub(super) fn exist(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// Opens a directory's sidecar, tells each key in order, and answers each day's committed end.
    pub(super) fn open(
        dir: &Path,
        keep: usize,
        mut tell: impl FnMut(u128),
    ) -> io::Result<(Self, HashMap<Day, u64>)> {
        let path = dir.join(NAME);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        let mut ends = HashMap::new();
        let mut length = 0;
        let mut torn = false;
        for entry in Entries(BufReader::new(&file)) {
            match Commit::decode(&entry?) {
                Some(_) if torn => {
                    let message = format!(
                        "{} is damaged at byte {length}; move the directory away",
                        path.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                Some(commit) => {
                    ends.insert(commit.day, commit.end);
                    if commit.key != Commit::NO_LINE {
                        tell(commit.key);
                    }
                    length += ENTRY as u64;
                }
                None => torn = true,
            }
        }
        file.set_len(length)?;
        let compact_at = (keep as u64).saturating_mul(2).max(1024);
        Ok((
            Self {
                path,
                file,
                length,
                compact_at,
                keep,
            },
            ends,
        ))
    }

    /// Appends entries, all or none.
    pub(super) fn append(&mut self, commits: &[Commit]) -> io::Result<()> {
        if self.length / ENTRY as u64 > self.compact_at {
            self.compact()?;
        }
        // What an append that failed may have left must not come to count.
        if self.file.metadata()?.len() > self.length {
            self.file.set_len(self.length)?;
        }
        let bytes: Vec<u8> = commits.iter().flat_map(|commit| commit.encode()).collect();
        if let Err(error) = self.file.write_all_at(&bytes, self.length) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the file anew with the last `keep` entries and the last one of every other day.
    fn compact(&mut self) -> io::Result<()> {
        let mut last: VecDeque<Commit> = VecDeque::new();
        let mut ends: HashMap<Day, Commit> = HashMap::new();
        for entry in Entries(BufReader::new(File::open(&self.path)?)) {
            let Some(commit) = Commit::decode(&entry?) else {
                break;
            };
            last.push_back(commit);
            if last.len() > self.keep
                && let Some(oldest) = last.pop_front()
            {
                ends.insert(oldest.day, oldest);
            }
        }
        let days: HashSet<Day> = last.iter().map(|commit| commit.day).collect();
        let beside = self.path.with_extension("new");
        let mut writer = BufWriter::new(File::create(&beside)?);
        let mut length = 0;
        for commit in ends
            .values()
            .filter(|commit| !days.contains(&commit.day))
            .chain(&last)
        {
            writer.write_all(&commit.encode())?;
            length += ENTRY as u64;
        }
        writer.into_inner()?;
        std::fs::rename(&beside, &self.path)?;
        self.file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        self.length = length;
        Ok(())
    }
}

impl Commit {
    /// Key of an entry that stands for no line, only for where a file that was begun anew ends.
    pub(super) const NO_LINE: u128 = 0;

    fn encode(&self) -> [u8; ENTRY] {
        let day = self.day.date().map_or(i32::MIN, Date::to_julian_day);
        let mut bytes = [0; ENTRY];
        let parts = [
            &day.to_le_bytes()[..],
            &self.end.to_le_bytes(),
            &self.key.to_le_bytes(),
        ]
        .concat();
        let crc = crc32fast::hash(&parts).to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(parts.iter().chain(&crc)) {
            *to = *from;
        }
        bytes
    }

    /// The entry, if it is whole.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (parts, crc) = bytes.split_at_checked(28)?;
        if crc32fast::hash(parts).to_le_bytes() != *crc {
            return None;
        }
        let day = i32::from_le_bytes(parts.get(..4)?.try_into().ok()?);
        let day = if day == i32::MIN {
            None
        } else {
            Some(Date::from_julian_day(day).ok()?)
        };
        Some(Self {
            day: Day::new(day),
            end: u64::from_le_bytes(parts.get(4..12)?.try_into().ok()?),
            key: u128::from_le_bytes(parts.get(12..28)?.try_into().ok()?),
        })
    }
}

/// Entries of a sidecar; the last may be short.
struct Entries<R>(R);

impl<R: Read> Iterator for Entries<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut entry = Vec::with_capacity(ENTRY);
        match self.0.by_ref().take(ENTRY as u64).read_to_end(&mut entry) {
            Ok(0) => None,
            Ok(_) => Some(Ok(entry)),
            Err(error) => Some(Err(error)),
        }
    }
}
