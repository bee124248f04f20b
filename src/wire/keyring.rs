//! The cluster's keys as the key file holds them: one, or two while they are being changed. Read by the
//! daemon at start and on reload; sender, receivers and the configuration keeper use what is in force. PURE.
//!
//! ```text
//!   one secret:   whatever `diehard key new` or a person wrote: the whole file but white space at its ends
//!   two of them:  diehard keys                       each secret as the hexadecimal digits of its bytes;
//!                 seal 3031…                         what is sent is sealed with it
//!                 next 3132…   or   last 2f30…       what others seal with it is accepted too
//! ```
//! `next`: it is offered to the others. `last`: all have the new one; what is still under way may come.

use super::Datagram;
use super::seal::{Key, KeyError, Reject};
use std::fmt;

const HEADING: &str = "diehard keys";

/// The keys in force. Has no way to print what it holds.
#[derive(Debug, Clone)]
pub struct Keyring {
    seals: Secret,
    beside: Option<(Beside, Secret)>,
}

/// What the second key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Not in use before everybody has it.
    Next,
    /// Not in use any more.
    Last,
}

#[derive(Clone)]
struct Secret {
    bytes: Vec<u8>,
    key: Key,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a key file holds no keys; `Display` is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFileError {
    /// A secret is none.
    Key(KeyError),
    /// It begins as a file of two keys, and goes on differently.
    Lines,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFileError::Key(error) => error.fmt(f),
            KeyFileError::Lines => write!(
                f,
                "after the line `{HEADING}` expected `seal DIGITS` and then `next DIGITS` or `last DIGITS`"
            ),
        }
    }
}

impl std::error::Error for KeyFileError {}

impl From<KeyError> for KeyFileError {
    fn from(error: KeyError) -> Self {
        KeyFileError::Key(error)
    }
}

impl Secret {
    fn new(bytes: &[u8], cluster: &str) -> Result<Secret, KeyError> {
        let key = Key::new(bytes, cluster)?;
        Ok(Secret { bytes: bytes.trim_ascii().to_vec(), key })
    }

    fn of_line(line: &str, word: &str, cluster: &str) -> Result<Secret, KeyFileError> {
        let digits = line.strip_prefix(word).ok_or(KeyFileError::Lines)?.trim();
        let bytes = from_hex(digits).ok_or(KeyFileError::Lines)?;
        Ok(Secret::new(&bytes, cluster)?)
    }
}

impl Keyring {
    /// The keys of the cluster called `cluster` from the content of its key file.
    ///
    /// # Errors
    /// A secret is too short; a file of two keys is damaged.
    pub fn read(file: &[u8], cluster: &str) -> Result<Keyring, KeyFileError> {
        let text = std::str::from_utf8(file).unwrap_or_default();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next() != Some(HEADING) {
            return Ok(Keyring { seals: Secret::new(file, cluster)?, beside: None });
        }
        let (Some(first), Some(second), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(KeyFileError::Lines);
        };
        let seals = Secret::of_line(first, "seal ", cluster)?;
        let (beside, word) =
            if second.starts_with("next ") { (Beside::Next, "next ") } else { (Beside::Last, "last ") };
        Ok(Keyring { seals, beside: Some((beside, Secret::of_line(second, word, cluster)?)) })
    }

    /// One key alone, that no file holds.
    #[cfg(test)]
    pub fn of(key: Key) -> Keyring {
        Keyring { seals: Secret { bytes: Vec::new(), key }, beside: None }
    }

    /// The content of a key file that reads as these keys.
    pub fn written(&self) -> Vec<u8> {
        match &self.beside {
            None => [&self.seals.bytes, &b"\n"[..]].concat(),
            Some((beside, secret)) => {
                let word = if *beside == Beside::Next { "next" } else { "last" };
                let (seals, other) = (hex(&self.seals.bytes), hex(&secret.bytes));
                format!("{HEADING}\nseal {seals}\n{word} {other}\n").into_bytes()
            }
        }
    }

    /// Write a sealed datagram into `out`, whose old content goes.
    pub fn seal(&self, datagram: &Datagram, out: &mut Vec<u8>) {
        self.seals.key.seal(datagram, out);
    }

    /// Read a datagram that was sealed with any of the keys.
    ///
    /// # Errors
    /// As `Key::open`.
    pub fn open(&self, sealed: &[u8]) -> Result<Datagram, Reject> {
        match (self.seals.key.open(sealed), &self.beside) {
            (Err(Reject::Seal), Some((_, other))) => other.key.open(sealed),
            (opened, _) => opened,
        }
    }

    /// With which this node seals.
    pub fn sealing(&self) -> &Key {
        &self.seals.key
    }

    /// All that it accepts, that one first.
    pub fn accepted(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.seals.key).chain(self.beside.iter().map(|(_, secret)| &secret.key))
    }

    /// Fingerprints of the key that seals and of the one that is offered; 0: none is.
    pub fn fingerprints(&self) -> (u64, u64) {
        let next = self.beside.as_ref().filter(|(beside, _)| *beside == Beside::Next);
        (self.seals.key.fingerprint(), next.map_or(0, |(_, secret)| secret.key.fingerprint()))
    }

    /// Are keys being changed?
    pub fn is_changing(&self) -> bool {
        self.beside.is_some()
    }

    /// Have all the new key, and is the old one only accepted still?
    pub fn has_last(&self) -> bool {
        self.beside.as_ref().is_some_and(|(beside, _)| *beside == Beside::Last)
    }

    /// The secret that is offered, if one is.
    pub fn offered(&self) -> Option<&[u8]> {
        self.beside.as_ref().filter(|(beside, _)| *beside == Beside::Next).map(|(_, secret)| &*secret.bytes)
    }

    /// With this secret offered beside the one in use.
    ///
    /// # Errors
    /// It is too short.
    pub fn offering(&self, secret: &[u8], cluster: &str) -> Result<Keyring, KeyFileError> {
        let next = Secret::new(secret, cluster)?;
        Ok(Keyring { seals: self.seals.clone(), beside: Some((Beside::Next, next)) })
    }

    /// Sealing with the offered one, and accepting the one before. Unchanged where none is offered.
    pub fn switched(&self) -> Keyring {
        match &self.beside {
            Some((Beside::Next, next)) => {
                Keyring { seals: next.clone(), beside: Some((Beside::Last, self.seals.clone())) }
            }
            _ => self.clone(),
        }
    }

    /// With nothing beside the key that seals.
    pub fn settled(&self) -> Keyring {
        Keyring { seals: self.seals.clone(), beside: None }
    }
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of an even number of hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MIN_SECRET, samples};

    const OLD: &[u8] = b"0123456789abcdef old\n";
    const NEW: &[u8] = b"fedcba9876543210 new";

    fn ring(file: &[u8]) -> Keyring {
        Keyring::read(file, "www").expect("a key file")
    }

    #[test]
    fn what_is_written_reads_as_the_same_keys_at_every_step() {
        let old = ring(OLD);
        let offering = old.offering(NEW, "www").expect("long enough");
        let switched = offering.switched();
        let settled = switched.settled();
        for keys in [&old, &offering, &switched, &settled] {
            let again = ring(&keys.written());
            assert_eq!(again.fingerprints(), keys.fingerprints());
            assert_eq!(again.is_changing(), keys.is_changing());
            assert_eq!(again.has_last(), keys.has_last());
            assert_eq!(again.written(), keys.written());
        }
        assert_eq!(settled.fingerprints(), ring(NEW).fingerprints());
        assert_eq!(settled.written(), [NEW, b"\n"].concat());
        assert_eq!(old.switched().fingerprints(), old.fingerprints(), "nothing is offered");
    }

    #[test]
    fn every_step_understands_the_steps_beside_it_and_no_stranger() {
        let old = ring(OLD);
        let offering = old.offering(NEW, "www").expect("long enough");
        let (switched, settled) = (offering.switched(), ring(NEW));
        let (_, packet) = samples::one_of_each().swap_remove(0);
        let datagram = samples::datagram(packet);
        let hears = |listener: &Keyring, speaker: &Keyring| {
            let mut sealed = Vec::new();
            speaker.seal(&datagram, &mut sealed);
            listener.open(&sealed)
        };
        for pair in [[&old, &offering], [&offering, &switched], [&switched, &settled]] {
            assert_eq!(hears(pair[0], pair[1]), Ok(datagram.clone()));
            assert_eq!(hears(pair[1], pair[0]), Ok(datagram.clone()));
        }
        assert_eq!(hears(&settled, &old), Err(Reject::Seal));
        assert_eq!(hears(&old, &settled), Err(Reject::Seal));
        let stranger = ring(b"somebody else's secret");
        assert_eq!(hears(&offering, &stranger), Err(Reject::Seal));
    }

    #[test]
    fn a_damaged_file_of_two_keys_is_no_key_by_accident() {
        let whole = ring(OLD).offering(NEW, "www").expect("long enough").written();
        let whole = String::from_utf8(whole).expect("text");
        let broken = [
            whole.replace("next", "text"),
            whole.replace("seal", "real"),
            whole.lines().take(2).collect::<Vec<_>>().join("\n"),
            whole.clone() + "next 00\n",
            whole.replace("next 66", "next 6"),
            whole.replace("next 66", "next zz"),
        ];
        for file in broken {
            assert_eq!(Keyring::read(file.as_bytes(), "www").err(), Some(KeyFileError::Lines), "{file}");
        }
        let short = format!("{HEADING}\nseal {}\nnext 00\n", hex(OLD.trim_ascii()));
        let error = Keyring::read(short.as_bytes(), "www").expect_err("one byte");
        assert_eq!(error.to_string(), format!("the secret has 1 bytes, at least {MIN_SECRET} are needed"));
        assert!(Keyring::read(b"short", "www").is_err());
    }
}
