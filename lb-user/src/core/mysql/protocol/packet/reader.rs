//! Reading the basic data types out of a payload.
//!
//! Owns the checks: a read past the end is an error and never a panic. Never copies.

use thiserror::Error;

/// Why a payload could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The payload ends inside a field.
    #[error("the packet ends in the midst of a field")]
    Truncated,
    /// A length-encoded integer starts with a byte that stands for NULL (0xfb) or for an error (0xff).
    #[error("0x{0:02x} does not begin a length-encoded integer")]
    NotAnInteger(u8),
    /// A string that must end with a zero byte does not.
    #[error("a string lacks the zero byte at its end")]
    Unterminated,
    /// A length does not fit the address space of this machine.
    #[error("a length of {0} bytes is beyond reason")]
    TooLong(u64),
}

/// A cursor over a payload.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, length: payload.len() }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    /// Whether every byte has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, which stays unread.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Everything that is left. MySQL protocol: `string<EOF>`.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// `int<1>`.
    pub fn u8(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `int<2>`, little endian.
    pub fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_le_bytes)
    }

    /// `int<3>`, little endian.
    pub fn u24(&mut self) -> Result<u32, ReadError> {
        self.array::<3>().map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]))
    }

    /// `int<4>`, little endian.
    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_le_bytes)
    }

    /// `int<8>`, little endian.
    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Length-encoded integer. MySQL protocol: Basic Data Types.
    pub fn lenenc_int(&mut self) -> Result<u64, ReadError> {
        match self.u8()? {
            0xfc => self.u16().map(u64::from),
            0xfd => self.u24().map(u64::from),
            0xfe => self.u64(),
            byte @ (0xfb | 0xff) => Err(ReadError::NotAnInteger(byte)),
            byte => Ok(u64::from(byte)),
        }
    }

    /// Length-encoded string. MySQL protocol: Basic Data Types.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = self.lenenc_int()?;
        self.bytes(usize::try_from(length).map_err(|_| ReadError::TooLong(length))?)
    }

    /// String ended by a zero byte, which is read and not returned. MySQL protocol: `string<NUL>`.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(ReadError::Unterminated)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// A string ended by a zero byte or by the end of the payload: some programs forget the last zero.
    pub fn nul_or_rest(&mut self) -> &'a [u8] {
        self.nul_bytes().unwrap_or_else(|_| self.take_rest())
    }
}
