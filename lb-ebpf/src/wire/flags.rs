//! TCP's control bits, as a set.

/// TCP's control bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags(u8);

impl TcpFlags {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Synchronise.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement is valid.
    pub const ACK: u8 = 0x10;

    /// From the header's byte.
    #[inline(always)]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether any of these bits is set.
    #[inline(always)]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// A connection's first segment: SYN without ACK.
    #[inline(always)]
    pub const fn is_open(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN
    }

    /// The answer to it.
    #[inline(always)]
    pub const fn is_open_answer(self) -> bool {
        self.0 & (Self::SYN | Self::ACK) == Self::SYN | Self::ACK
    }

    pub(super) const fn are_sane(self) -> bool {
        self.has(Self::SYN | Self::ACK | Self::RST | Self::FIN)
            && !(self.has(Self::SYN) && self.has(Self::FIN | Self::RST))
    }
}
