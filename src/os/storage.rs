//! A record that survives everything but the disk: two slots in one file, written in turn.
//!
//! The file is allocated once, so that a full disk cannot refuse a later write; a write that a power cut
//! tears leaves the other slot. Owned by the storage thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of one slot: a state of 64 nodes and some hundred services in two versions is below 32 KiB.
const SLOT: usize = 128 << 10;
/// `DHR1`, generation u64, length u32, checksum u64 (FNV-1a of generation, length and content).
const HEAD: usize = 24;
const MAGIC: [u8; 4] = *b"DHR1";

/// The largest content in bytes.
pub const LARGEST: usize = SLOT - HEAD;

/// The open file.
#[derive(Debug)]
pub struct RecordFile {
    file: File,
    generation: u64,
}

impl RecordFile {
    /// Opens or makes the file (mode 0600), allocated in full; and what was written last, if anything was.
    ///
    /// # Errors
    /// No such directory, no permission, a full disk (only when it is made).
    pub fn open(path: &Path) -> io::Result<(Self, Option<Vec<u8>>)> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        if file.metadata()?.len() < 2 * SLOT as u64 {
            nix::fcntl::posix_fallocate(file.as_fd(), 0, 2 * SLOT as libc::off_t)?;
            file.sync_all()?;
            if let Some(directory) = path.parent() {
                File::open(directory)?.sync_all()?;
            }
        }
        let newest = [0, 1].iter().filter_map(|&slot| read(&file, slot)).max_by_key(|(number, _)| *number);
        let (generation, content) = newest.map_or((0, None), |(number, content)| (number, Some(content)));
        Ok((RecordFile { file, generation }, content))
    }

    /// Writes and waits until it is on the disk. If it fails, what was written before is still there.
    ///
    /// # Errors
    /// `InvalidInput`: longer than `LARGEST`; errors of the disk.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        if content.len() > LARGEST {
            let text = format!("{} bytes do not fit into a record of {LARGEST}", content.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let generation = self.generation + 1;
        let mut bytes = Vec::with_capacity(HEAD + content.len());
        bytes.extend(MAGIC);
        bytes.extend(generation.to_be_bytes());
        bytes.extend(u32::try_from(content.len()).expect("at most LARGEST").to_be_bytes());
        bytes.extend(checksum(generation, content).to_be_bytes());
        bytes.extend(content);
        self.file.write_all_at(&bytes, generation % 2 * SLOT as u64)?;
        self.file.sync_data()?;
        self.generation = generation;
        Ok(())
    }
}

fn read(file: &File, slot: u64) -> Option<(u64, Vec<u8>)> {
    let offset = slot * SLOT as u64;
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, offset).ok()?;
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, _) = rest.split_first_chunk::<8>()?;
    let (generation, length) = (u64::from_be_bytes(*generation), u32::from_be_bytes(*length) as usize);
    if *magic != MAGIC || length > LARGEST {
        return None;
    }
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, offset + HEAD as u64).ok()?;
    (checksum(generation, &content) == u64::from_be_bytes(*sum)).then_some((generation, content))
}

fn checksum(generation: u64, content: &[u8]) -> u64 {
    let length = content.len() as u64;
    let head = generation.to_be_bytes().into_iter().chain(length.to_be_bytes());
    head.chain(content.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("diehard-record-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn the_newest_write_is_read_again_and_nothing_grows() {
        let path = path("newest");
        let (mut file, before) = RecordFile::open(&path).expect("made");
        assert_eq!(before, None);
        for number in 0..5_u8 {
            file.write(&[number; 100]).expect("written");
            let (_, content) = RecordFile::open(&path).expect("there");
            assert_eq!(content, Some(vec![number; 100]));
        }
        assert!(file.write(&vec![0; LARGEST + 1]).is_err());
        file.write(&vec![9; LARGEST]).expect("fits");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 2 * SLOT as u64);
        std::fs::remove_file(path).expect("ours");
    }

    #[test]
    fn a_torn_write_leaves_the_one_before() {
        let path = path("torn");
        let (mut file, _) = RecordFile::open(&path).expect("made");
        file.write(b"old").expect("written");
        file.write(b"new").expect("written");
        // The second write went to slot 0: every single byte of it may be wrong.
        for at in 0..HEAD as u64 + 3 {
            let mut byte = [0];
            file.file.read_exact_at(&mut byte, at).expect("there");
            file.file.write_all_at(&[byte[0] ^ 0x10], at).expect("garbled");
            let (_, content) = RecordFile::open(&path).expect("there");
            assert_eq!(content.as_deref(), Some(&b"old"[..]), "byte {at}");
            file.file.write_all_at(&byte, at).expect("restored");
        }
        let (_, content) = RecordFile::open(&path).expect("there");
        assert_eq!(content.as_deref(), Some(&b"new"[..]));
        std::fs::remove_file(path).expect("ours");
    }
}
