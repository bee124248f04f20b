//! Reading a file that nobody else may read.
//!
//! Called by the daemon for the cluster's key.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Longest secret in bytes: a key has a few dozen.
const LONGEST: u64 = 64 << 10;

/// The content of a regular file that only its owner may read or write.
///
/// # Errors
/// `PermissionDenied`: others may (the message says how to change that). No such file.
pub fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text =
            format!("its mode is {mode:04o}: others may read or change it (chmod 0600 {})", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn only_private_files_are_read() {
        let path = std::env::temp_dir().join(format!("diehard-secret-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef").expect("written");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
            assert_eq!(read_private(&path).is_ok(), fine, "{mode:o}");
        }
        std::fs::remove_file(&path).expect("ours");
        assert!(read_private(&path).is_err());
        assert!(read_private(&std::env::temp_dir()).is_err());
    }
}
