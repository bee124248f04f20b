//! The alphabet of the codec: how numbers, identities, options, lists and text become bytes and come
//! back. Big-endian, every read checked against the end of the datagram, one encoding for each value.

use super::DecodeError;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, ServiceId, Term};

/// A value that has a place on the wire.
pub(super) trait Wire: Sized {
    /// Append the value's bytes.
    fn put(&self, out: &mut Vec<u8>);
    /// Read it back; refuses what `put` would never have written.
    fn take(from: &mut Cursor) -> Result<Self, DecodeError>;
}

/// What is left of a datagram.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(super) fn take<T: Wire>(&mut self) -> Result<T, DecodeError> {
        T::take(self)
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// A list: a 16-bit count, at most `most`, then the elements.
    pub(super) fn list<T: Wire>(&mut self, most: usize) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(self.take::<u16>()?);
        if count > most {
            return Err(DecodeError::TooMany);
        }
        // Every element has at least one byte: a short datagram cannot make us reserve for a long list.
        let mut list = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            list.push(self.take()?);
        }
        Ok(list)
    }

    /// Text: a 16-bit length, at most `most` bytes, then UTF-8 without control characters: it ends on
    /// somebody's terminal.
    pub(super) fn text(&mut self, most: usize) -> Result<String, DecodeError> {
        let length = usize::from(self.take::<u16>()?);
        if length > most {
            return Err(DecodeError::TooLong);
        }
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| DecodeError::Text)?;
        if text.chars().any(char::is_control) {
            return Err(DecodeError::Text);
        }
        Ok(text.to_owned())
    }

    /// Nothing may follow: what is not understood is not accepted.
    pub(super) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

/// The counterpart of [`Cursor::list`]. A list longer than the receiver accepts is written as it is:
/// the receiver refuses and counts it, nobody acts on half a list.
pub(super) fn put_list<T: Wire>(list: &[T], out: &mut Vec<u8>) {
    u16::try_from(list.len()).unwrap_or(u16::MAX).put(out);
    list.iter().for_each(|element| element.put(out));
}

/// The counterpart of [`Cursor::text`]: text is for people, so it is cut to what fits and control
/// characters become spaces, rather than lose the packet.
pub(super) fn put_text(text: &str, most: usize, out: &mut Vec<u8>) {
    let at = out.len();
    0_u16.put(out);
    for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if out.len() - at - 2 + letter.len_utf8() > most {
            break;
        }
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
    let length = u16::try_from(out.len() - at - 2).expect("every limit for text is below 64 KiB");
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
                let bytes = from.bytes(size_of::<$number>())?;
                Ok(<$number>::from_be_bytes(bytes.try_into().expect("as many bytes as were asked for")))
            }
        }
    )*};
}
number!(u8, u16, u32, u64);

macro_rules! newtype {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
                Ok($name(from.take()?))
            }
        }
    )*};
}
newtype!(NodeId, ServiceId, Incarnation);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        match from.take::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value),
        }
    }
}

impl Wire for LinkRole {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            LinkRole::Internal => 0,
            LinkRole::External => 1,
        });
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        match from.take::<u8>()? {
            0 => Ok(LinkRole::Internal),
            1 => Ok(LinkRole::External),
            _ => Err(DecodeError::Value),
        }
    }
}

/// A hardware address.
impl Wire for [u8; 6] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self);
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            *byte = from.take()?;
        }
        Ok(bytes)
    }
}

impl Wire for Term {
    fn put(&self, out: &mut Vec<u8>) {
        self.round.put(out);
        self.author.put(out);
        self.life.put(out);
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Term { round: from.take()?, author: from.take()?, life: from.take()? })
    }
}

impl Wire for Epoch {
    fn put(&self, out: &mut Vec<u8>) {
        self.term.put(out);
        self.version.put(out);
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(Epoch { term: from.take()?, version: from.take()? })
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok(if from.take()? { Some(from.take()?) } else { None })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(from: &mut Cursor) -> Result<Self, DecodeError> {
        Ok((from.take()?, from.take()?))
    }
}
