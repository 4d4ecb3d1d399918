//! VRRP version 3 (RFC 9568): who of several nodes has a virtual router's addresses.
//!
//! [`advert`] owns the bytes of an advertisement and the checks of received ones, [`machine`] a virtual router's states and timers, in the
//! words of [`event`]. Time is an argument; nothing here sends, receives or waits.

pub mod advert;
mod damping;
pub mod event;
pub mod machine;

#[cfg(test)]
mod tests;
